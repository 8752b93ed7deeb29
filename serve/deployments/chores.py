"""What has to be done now and then beside the jobs, by one dispatcher at a time: each chore has a lock of its own.

reconcile   follow the registry's champion
tell        say how far that is
webhooks    tell receivers of jobs that ended
sweep       delete results whose time is over, and what attempts left behind
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from functools import partial
from typing import Any

from serve.api.descriptions import describe
from serve.config import Settings
from serve.jobs.artifacts import ArtifactStore
from serve.jobs.database import StoreUnavailable, tell_away
from serve.jobs.rollouts import Rollout
from serve.jobs.signals import Signals
from serve.jobs.store import JobStore
from serve.jobs.sweep import condemn_orphans, sweep
from serve.registry.reconciler import RECONCILER
from serve.telemetry import Tracing
from serve.webhooks.loop import Webhooks
from serve.webhooks.send import Sender
from serve.webhooks.sign import master_secret

log = logging.getLogger(__name__)

LOCK_TTL = 15.0  # seconds after which a silent dispatcher's locks are free
SWEEPER_TTL = 60.0  # two thirds of it are above what a deletion takes: `serve.jobs.retention` tells why
SWEEPER = "sweeper"
TELL_EVERY_S = LOCK_TTL / 3  # where nothing is new
LOOK_EVERY_S = 0.5  # whether something is
SWEEP_EVERY_S = 60.0
ORPHANS_EVERY_S = 6 * 3600.0
ORPHANS_AFTER_S = 24 * 3600.0  # above what any request or attempt takes


class Chores:
    """The chores of one dispatcher.

    Args:
        owner: Names the dispatcher in the locks.
        settings: Of the platform.
        store: Has the locks and the outbox.
        signals: Of the same database.
        tick: Of the reconciler.
        rollout: Likewise; how far it is.
        followed: Whether a later cluster has taken over: its reconciler is the one.
        delivered: Told how each attempt at a webhook ended.
        tracing: Of the dispatcher.
    """

    def __init__(
        self,
        owner: str,
        settings: Settings,
        store: JobStore,
        signals: Signals,
        tick: Callable[[], Awaitable[object]],
        rollout: Callable[[], Rollout],
        followed: Callable[[], bool],
        delivered: Callable[[str], object],
        tracing: Tracing,
    ) -> None:
        self._owner = owner
        self._settings = settings
        self._store = store
        self._signals = signals
        self._tick = tick
        self._rollout = rollout
        self._reconciling = False
        self._told: Rollout | None = None
        self._followed = followed
        self._webhooks = Webhooks(
            store,
            Sender(settings.webhook_hosts).post,
            describe=lambda job: describe(store, job).model_dump(mode="json"),
            secret=master_secret(settings),
            told=delivered,
            around=lambda job: tracing.span("webhook", job.trace, {"job": job.id}),
        )
        self._artifacts = ArtifactStore.open(settings.artifacts_url, settings.artifacts_options)
        self._orphans_at = float("-inf")

    def loops(self) -> dict[str, Callable[[], Coroutine[Any, Any, None]]]:
        """The chores by name; each goes on until it is cancelled."""
        webhooks = partial(self._webhooks.run, self._signals)
        return {"reconcile": self._reconcile, "tell": self._tell, "webhooks": webhooks, "sweep": self._sweep}

    def release(self) -> None:
        """Give the locks back, so that the next dispatcher need not wait for them."""
        with contextlib.suppress(StoreUnavailable):
            if self._reconciling and self._told is not None:
                self._store.rollouts.show(self._told, 0)
            for lock in (RECONCILER, SWEEPER):
                self._store.take_lock(lock, self._owner, 0)

    async def _reconcile(self) -> None:
        while True:
            with _away():
                if self._followed():
                    await self._yield()
                else:
                    self._reconciling = self._reconciling or await self._mine(RECONCILER, LOCK_TTL)  # `_tell` keeps it
                    if self._reconciling:
                        await self._tick()
            await asyncio.sleep(self._settings.reconcile_every)

    async def _yield(self) -> None:
        """Leave the registry to the later cluster: a tick that is under way can make nothing served any more."""
        self._reconciling = False
        await self._mine(RECONCILER, 0)

    async def _tell(self) -> None:
        """Say how far the reconciler is, and keep its lock: a tick that waits for samplers outlasts that."""
        at = float("-inf")
        while True:
            with _away():
                now, due = self._rollout(), time.monotonic() - at >= TELL_EVERY_S
                if self._reconciling and self._followed():
                    await self._yield()
                elif self._reconciling and (now != self._told or due):
                    keep = partial(self._store.keep_lock, RECONCILER, self._owner, LOCK_TTL)
                    self._reconciling = await asyncio.to_thread(keep)
                    if self._reconciling:
                        await asyncio.to_thread(self._store.rollouts.show, now, LOCK_TTL)
                        self._told, at = now, time.monotonic()
            await asyncio.sleep(LOOK_EVERY_S)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_EVERY_S)
            with _away():
                if await self._mine(SWEEPER, SWEEPER_TTL):
                    await self._sweep_once()

    async def _sweep_once(self) -> None:
        now = time.monotonic()
        if now - self._orphans_at > ORPHANS_EVERY_S:
            self._orphans_at = now
            await condemn_orphans(self._store.retention, self._artifacts, self._store.clock() - ORPHANS_AFTER_S)
        mine = partial(self._store.take_lock, SWEEPER, self._owner, SWEEPER_TTL)
        if deleted := await sweep(self._store.retention, self._artifacts, mine):
            log.info("swept", extra={"artifacts": deleted})

    async def _mine(self, lock: str, ttl: float) -> bool:
        return await asyncio.to_thread(self._store.take_lock, lock, self._owner, ttl)


@contextlib.contextmanager
def _away() -> Iterator[None]:
    """A store that is away is no reason to end: the chore comes round again."""
    try:
        yield
    except StoreUnavailable as error:
        tell_away(log, error)
