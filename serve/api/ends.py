"""The ends of jobs that clients wait for: after a change one look at the store for all of them.

A look for each would be as many queries as clients wait, times as many as there are changes, and each step of each
running job is one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from anyio import to_thread

from serve.jobs.database import StoreUnavailable
from serve.jobs.signals import Signals, first
from serve.jobs.store import Job, JobStore

RECHECK_S = 5.0
"""Looks this often even without a signal: a wake-up that was lost must not cost a whole timeout."""

STORE_BACK_S = 0.5
"""Between looks while the store is away: the jobs were accepted, and their clients hear of them when it is back."""

REST_S, LONGEST_REST_S = 0.001, 0.05
"""After a look, for each job waited for, and at most: the more there are, the more changes are no end of any."""


class Ends:
    """For one event loop.

    Args:
        store: Has the jobs.
        signals: Tell of changes.
    """

    def __init__(self, store: JobStore, signals: Signals) -> None:
        self._store = store
        self._signals = signals
        self._waiting: dict[str, set[asyncio.Future[Job | None]]] = {}
        self._come = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def of(self, job_id: str) -> Job | None:
        """The job once it has ended; None where it is gone."""
        future: asyncio.Future[Job | None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(job_id, set()).add(future)
        self._come.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._watch(), name="ends")
        try:
            return await future
        finally:
            others = self._waiting.get(job_id, set())
            others.discard(future)
            if not others:
                self._waiting.pop(job_id, None)

    async def _watch(self) -> None:
        """Look while anyone waits; what goes wrong is told to all of them."""
        try:
            while self._waiting:
                seen = self._signals.generation  # before the look, so that no change falls between it and the wait
                self._come.clear()
                self._tell(await self._look())
                await asyncio.sleep(min(REST_S * len(self._waiting), LONGEST_REST_S))
                await first(self._signals.changed(seen, RECHECK_S), self._come.wait())
        except Exception as error:
            for futures in self._waiting.values():
                for future in futures:
                    if not future.done():
                        future.set_exception(error)

    async def _look(self) -> dict[str, Job | None]:
        while True:
            try:
                return await to_thread.run_sync(self._store.ended, tuple(self._waiting))
            except StoreUnavailable:
                await asyncio.sleep(STORE_BACK_S)

    def _tell(self, ended: Mapping[str, Job | None]) -> None:
        for job_id, job in ended.items():
            for future in self._waiting.pop(job_id, ()):
                if not future.done():
                    future.set_result(job)
