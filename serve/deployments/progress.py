"""How far jobs are, written to the store for all of them at once.

Every commit wakes whoever waits for the store, in every process, and stands in the way of the next one. Steps are the
most frequent of all news and the least urgent, so they are gathered: what is overtaken, and what ends first, is never
written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from serve.deployments.ask import Ask
from serve.jobs.store import JobStore, Lease

GATHER_FOR = 0.25  # seconds from the first news to the write


class ProgressWriter:
    """The latest of each running job.

    Args:
        store: Is told.
        ask: Calls it.
    """

    def __init__(self, store: JobStore, ask: Ask) -> None:
        self._store = store
        self._ask = ask
        self._latest: dict[tuple[str, int], tuple[Lease, Mapping[str, Any]]] = {}
        self._given = asyncio.Event()

    def give(self, lease: Lease, progress: Mapping[str, Any]) -> None:
        """Have it written soon."""
        self._latest[lease.job.id, lease.fence] = lease, progress
        self._given.set()

    def drop(self, lease: Lease) -> None:
        """Nobody needs to know any more."""
        self._latest.pop((lease.job.id, lease.fence), None)

    async def loop(self) -> None:
        """Write, for ever."""
        while True:
            await self._given.wait()
            await asyncio.sleep(GATHER_FOR)
            self._given.clear()
            latest, self._latest = self._latest, {}
            if latest:
                await self._ask(self._store.progress, list(latest.values()))
