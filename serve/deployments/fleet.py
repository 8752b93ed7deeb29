"""What a dispatcher knows of samplers: how many it has, how fast they are, and whether a later cluster has some.

An upgrade puts a second cluster beside the first, over the same store. As soon as the later one has a sampler, the
earlier one stands down: it ends what it has, and claims nothing more. When the later one has none any more, or is gone,
the earlier one goes on. Later is which joined later: the first look does that, whether there are samplers or not.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from ray.exceptions import RayError
from ray.serve.exceptions import DeploymentUnavailableError, RayServeException
from ray.serve.handle import DeploymentHandle

from serve.deployments.ask import Ask
from serve.jobs.pace import Pace
from serve.jobs.prediction import Capacity
from serve.jobs.store import JobStore

LOOK_EVERY = 1.0  # seconds between looks
ASK_EVERY = 5.0  # seconds between questions to the samplers while nothing runs and there are some: each costs a call
LOOK_WITHIN = 5.0  # seconds after which what was known is taken to be so still
PACE_EVERY = 15.0  # seconds between notes of how long their steps take
SHOW_EVERY = 3.0  # seconds between signs that this cluster has samplers
SHOWN_FOR = 10.0  # seconds after the last one until an earlier cluster claims again


class Fleet:
    """The samplers of one cluster.

    Args:
        session: Name of the Ray session.
        sampler: Handle of the deployment.
        store: Knows of other clusters, and keeps paces.
        ask: Calls it.
        changed: Called when there are more or fewer samplers, or another cluster came or went.
        running: Whether any job is.
    """

    def __init__(
        self,
        session: str,
        sampler: DeploymentHandle,
        store: JobStore,
        ask: Ask,
        changed: Callable[[], None],
        running: Callable[[], bool],
    ) -> None:
        self._session = session
        self._sampler = sampler
        self._store = store
        self._ask = ask
        self._changed = changed
        self._running = running
        self._shown_at = self._kept_at = self._asked_at = float("-inf")
        self._pace: Pace | None = None
        self._joined = False
        self.samplers = 0
        self.followed = False

    async def loop(self) -> None:
        """Look, for ever."""
        while True:
            await self.look(every=ASK_EVERY if self.samplers and not self._running() else 0.0)
            await asyncio.sleep(LOOK_EVERY)

    async def look(self, every: float = 0.0) -> None:
        """Look at the store once, and ask the samplers unless they were asked within the last `every` seconds."""
        before = self.samplers, self.followed
        if not self._joined:
            await self._ask(self._store.clusters.join, self._session)
            self._joined = True
        if time.monotonic() - self._asked_at >= every:
            self._asked_at = time.monotonic()
            await self._count()
        await self._show()
        self.followed = await self._ask(self._store.clusters.followed, self._session)
        if before != (self.samplers, self.followed):
            self._changed()

    async def pace(self) -> Pace | None:
        """Of one sampler: the mean of those that are here, or what was measured last; none before the first step."""
        if self._pace is None:
            self._pace = await self._ask(self._store.paces.last)
        return self._pace

    async def _count(self) -> None:
        try:
            async with asyncio.timeout(LOOK_WITHIN):
                answers = await self._sampler.broadcast("pace").results_async(return_exceptions=True)
        except DeploymentUnavailableError:
            answers = []
        except (TimeoutError, RayError, RayServeException):
            return  # one that can't answer now is not gone
        alive = [answer for answer in answers if not isinstance(answer, BaseException)]
        self.samplers = len(alive)
        measured = {worker: pace for worker, pace in alive if pace is not None}
        capacity = Capacity.of(tuple(measured.values()))
        if capacity is not None:
            self._pace = capacity.pace
            if time.monotonic() - self._kept_at >= PACE_EVERY:
                self._kept_at = time.monotonic()
                await self._ask(self._store.paces.keep, measured)

    async def _show(self) -> None:
        """Tell other clusters that this one has samplers; a last time that it has none any more."""
        now = time.monotonic()
        if self.samplers and now - self._shown_at >= SHOW_EVERY:
            self._shown_at = now
            await self._ask(self._store.clusters.show, self._session, SHOWN_FOR)
        elif not self.samplers and self._shown_at > float("-inf"):
            self._shown_at = float("-inf")
            await self._ask(self._store.clusters.show, self._session, 0.0)
