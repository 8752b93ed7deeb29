"""The sweeper's round: what `retention` condemned is deleted. Whoever holds the sweeper's lock calls it.

A round that is cut off anywhere is finished by the next: what was condemned stays so until it is recorded as swept, and
deleting twice is deleting once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from serve.jobs.artifacts import ArtifactStore
from serve.jobs.retention import Retention


async def sweep(retention: Retention, artifacts: ArtifactStore, mine: Callable[[], Awaitable[bool]]) -> int:
    """Expire what is due and delete the artifacts that are free to go.

    Args:
        retention: Of the database.
        artifacts: Are deleted.
        mine: Keeps the lock, or says that another has it; asked before each batch.

    Returns:
        How many artifacts were deleted.
    """
    while await asyncio.to_thread(retention.expire):
        pass
    await asyncio.to_thread(retention.forget)
    deleted = 0
    while await mine() and (keys := await asyncio.to_thread(retention.condemned)):
        await artifacts.delete(keys)
        await asyncio.to_thread(retention.swept, keys)
        deleted += len(keys)
    return deleted


async def condemn_orphans(retention: Retention, artifacts: ArtifactStore, before: float) -> int:
    """Condemn the artifacts that no row holds and that were stored before `before`, for the next `sweep`.

    They are what attempts leave behind that did not come to their end, and requests that did not become a job. The age
    is not what makes this safe (see `retention`): it keeps from refusing those that are about to be held. What writes
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
