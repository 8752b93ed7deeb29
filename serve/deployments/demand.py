"""What a dispatcher tells Serve's controller: how many samplers it wants, and what waits for imaging."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from serve.config import Settings
from serve.deployments.ask import Ask
from serve.deployments.fleet import Fleet
from serve.deployments.scaling import MAPS, SAMPLERS, Work, samplers
from serve.jobs.store import Job, JobStore

LOOK_EVERY = 1.0  # seconds


class Demand:
    """Looks at the store now and then. Nothing is said before the first look: what there is, stays.

    Args:
        settings: Of the platform.
        store: What waits.
        ask: Calls it.
        fleet: The pace of samplers, and whether a later cluster does what waits.
        unsampled: What this dispatcher has claimed and that is not sampled yet.
    """

    def __init__(
        self,
        settings: Settings,
        store: JobStore,
        ask: Ask,
        fleet: Fleet,
        unsampled: Callable[[], Collection[Job]],
    ) -> None:
        self._settings = settings
        self._store = store
        self._ask = ask
        self._fleet = fleet
        self._unsampled = unsampled
        self.stats: dict[str, float] = {}
        self.trying = False  # a version that no sampler has loaded yet is to be served

    async def loop(self) -> None:
        """Look, for ever."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY)

    async def look(self) -> None:
        """Look once."""
        waiting = await self._ask(self._store.waiting)
        running = [job for job in self._unsampled() if job.rows]
        mine = not self._fleet.followed
        work = Work(
            waiting=waiting.jobs if mine else 0,
            waiting_gflop=waiting.gflop if mine else 0.0,
            running=len(running),
            running_gflop=sum(job.gflop for job in running),
            running_rows=sum(job.rows for job in running),
        )
        pace = await self._fleet.pace()
        wanted = samplers(work, pace, self._settings.max_rows, self._settings.clear_within)
        self.stats = {SAMPLERS: max(wanted, int(self.trying)), MAPS: waiting.maps if mine else 0}
