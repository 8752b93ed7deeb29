"""The sweeper's round: what `retention` condemned is deleted. Whoever holds the sweeper's lock calls it.

A round that is cut off anywhere is finished by the next: what was taken is taken again until it is recorded as swept,
and deleting twice is deleting once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection

from serve.jobs.artifacts import ArtifactStore
from serve.jobs.retention import Deletion, Retention

log = logging.getLogger(__name__)


async def sweep(retention: Retention, artifacts: ArtifactStore, mine: Callable[[], bool]) -> int:
    """Expire what is due, drop rows whose time is over and delete the artifacts that are free to go.

    One that cannot be deleted is put off, and the others go on. A round ends when none of those that it took can be.

    Args:
        retention: Of the database.
        artifacts: Are deleted.
        mine: Keeps the lock, for longer than a deletion takes, or says that another has it; called in threads, before
            keys are taken and before they are deleted.

    Returns:
        How many artifacts were deleted.
    """
    while await asyncio.to_thread(retention.expire):
        pass
    while await asyncio.to_thread(mine) and await asyncio.to_thread(retention.forget) > 0:
        pass
    deleted = 0
    failed: dict[str, Exception] = {}
    while await asyncio.to_thread(mine) and (deletion := await asyncio.to_thread(retention.take)).keys:

        def wanted(deletion: Deletion = deletion) -> Collection[str]:
            return retention.taken(deletion) if mine() else ()  # in this order, so that the lock lasts from here on

        ends = await artifacts.delete(wanted)
        kept = {key: error for key, error in ends.items() if error is not None}
        gone = ends.keys() - kept.keys()
        deleted += await asyncio.to_thread(retention.swept, deletion, gone, kept)
        failed |= kept
        if not gone:
            break
    if failed:
        reason = repr(next(iter(failed.values())))
        log.warning("artifacts cannot be deleted", extra={"artifacts": len(failed), "reason": reason})
    return deleted


async def condemn_orphans(retention: Retention, artifacts: ArtifactStore, before: float) -> int:
    """Condemn the artifacts that no row holds and that were stored before `before`, for the next `sweep`.

    They are what attempts leave behind that did not come to their end, and requests that did not become a job. The age
    is not what makes this safe (see `retention`): it keeps from condemning those that are about to be held. What writes
    left that were cut off before then, which nothing can name, is deleted at once.

    Args:
        retention: Of the database.
        artifacts: All are listed, so this is for now and then.
        before: Epoch seconds of the artifacts' store; a day ago is more than any job takes.

    Returns:
        How many were newly condemned.
    """
    condemned = 0
    async for found in artifacts.list():
        old = [artifact.key for artifact in found if artifact.modified < before]
        if old:
            condemned += await asyncio.to_thread(retention.condemn, old)
    await artifacts.clean(before)
    return condemned
