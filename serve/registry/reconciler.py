"""Keeps what is served true to the registry's champion.

    resolve the alias -> fetch and verify the bundle -> samplers prepare it -> flip the serving pointer

New jobs are pinned to what the pointer says, so nothing is served before samplers hold it, and nothing that goes wrong
on the way takes away what was served before: the last good version stays and the status says why. Rollback is promotion
of an older version, which is in the cache.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from controlnet.bundle import MANIFEST
from serve.jobs.rollouts import Rollout, RolloutState
from serve.jobs.store import JobStore, ServedModel
from serve.registry.registry import CHAMPION, Registry, RegistryError, Resolved

log = logging.getLogger(__name__)

RECONCILER = "reconciler"
"""The lock of whoever follows the registry."""

FIRST_WAIT = 5.0  # seconds until a version that failed is tried again; doubled each time
LONGEST_WAIT = 300.0

Stage = Literal["store", "resolve", "champion", "fetch", "prepare"]


@dataclass(frozen=True, slots=True)
class ReconcilerStatus:
    """What is served, and why it isn't what the registry asks for if it isn't.

    Attributes:
        serving: What new jobs get.
        warm: Samplers have prepared it since this process began.
        wanted: What the champion was when the registry last answered.
        fault: The stage that failed: the job `store` can't be used, the registry doesn't `resolve`, there is no
            `champion`, its bundle can't be `fetch`ed, samplers can't `prepare` it.
        reason: The same as a sentence.
    """

    serving: ServedModel | None = None
    warm: bool = False
    wanted: Resolved | None = None
    fault: Stage | None = None
    reason: str | None = None


class _Failed(Exception):
    def __init__(self, stage: Stage, reason: str) -> None:
        super().__init__(reason)
        self.stage = stage
        self.reason = reason


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a version was not adopted, and when it is worth another try."""

    stage: Stage
    reason: str
    tries: int
    until: float


class Reconciler:
    """One per platform: whoever runs several dispatchers holds the lock `RECONCILER` around `tick`.

    Args:
        registry: Asked for its champion.
        store: Holds the serving pointer.
        prepare: Returns when every sampler has loaded and warmed a version; raises when one can't.
        cache: Of bundles; see `Registry.fetch`.
        owner: Who must hold the lock when a version begins to be served: preparing it may outlast that, and another's
            decision is the later one then. Nobody when absent.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        registry: Registry,
        store: JobStore,
        prepare: Callable[[ServedModel], Awaitable[None]],
        cache: Path,
        owner: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._store = store
        self._prepare = prepare
        self._cache = cache
        self._lock = None if owner is None else (RECONCILER, owner)
        self._clock = clock
        self._serving: ServedModel | None = None
        self._warm: str | None = None  # digest of what was prepared last
        self._wanted: Resolved | None = None
        self._failures: dict[Resolved, _Failure] = {}
        self._status = ReconcilerStatus()

    @property
    def status(self) -> ReconcilerStatus:
        """As the last tick left it, or this one when it began to fetch: it may wait for samplers for long."""
        return self._status

    @property
    def rollout(self) -> Rollout:
        """The same for those who ask whether the champion is served."""
        now = self._status
        serving, wanted = now.serving, now.wanted
        state: RolloutState = "loading" if now.fault is None else "failed"
        if now.warm and serving is not None and wanted is not None and _resolved(serving) == wanted:
            state = "served"
        return Rollout(
            self._registry.name,
            state,
            None if wanted is None else wanted.version,
            None if serving is None else serving.version,
            now.fault,
            now.reason,
        )

    async def tick(self) -> ReconcilerStatus:
        """Take one step towards the champion. Raises nothing but cancellation: what fails is in the status."""
        failed = None
        try:
            await self._follow()
        except _Failed as error:
            failed = error
        return self._report(failed)

    async def _follow(self) -> None:
        with _stage("store"):
            self._serving = await asyncio.to_thread(self._store.serving, self._registry.name)
        if self._serving is not None and self._warm != self._serving.digest:
            # This process is new: samplers get what was served before, from the cache; the registry may be away.
            with suppress(_Failed):
                await self._adopt(_resolved(self._serving))
                return
        with _stage("resolve"):
            self._wanted = wanted = await asyncio.to_thread(self._registry.resolve, CHAMPION)
        if wanted is None:
            raise _Failed("champion", f"No version of {self._registry.name} is its {CHAMPION}.")
        if self._serving is None or self._warm != wanted.digest or _resolved(self._serving) != wanted:
            await self._adopt(wanted)
        self._failures.clear()  # whoever promotes a version again wants it tried again

    async def _adopt(self, target: Resolved) -> None:
        """Serve a version, unless it failed so recently that the same is to be expected."""
        failure = self._failures.get(target)
        if failure is not None and self._clock() < failure.until:
            raise _Failed(failure.stage, failure.reason)
        self._status = self._told(failure)
        try:
            with _stage("fetch"):
                model = await asyncio.to_thread(self._load, target)
            with _stage("prepare"):
                await self._prepare(model)
            with _stage("store"):
                await asyncio.to_thread(self._store.set_serving, model, self._lock)
        except _Failed as failed:
            tries = 1 if failure is None else failure.tries + 1
            wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(tries - 1, 16))
            self._failures[target] = _Failure(failed.stage, failed.reason, tries, self._clock() + wait)
            raise
        self._serving, self._warm = model, model.digest

    def _load(self, target: Resolved) -> ServedModel:
        folder = self._registry.fetch(target, self._cache, () if self._serving is None else (self._serving.digest,))
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return ServedModel(target.name, target.version, target.digest, manifest, target.source)

    def _report(self, failed: _Failed | None) -> ReconcilerStatus:
        """Renew the status; log it where it is another than before, not every two seconds."""
        before, now = self._status, self._told(failed)
        self._status = now
        served = None if now.serving is None else now.serving.version
        extra = {"model": self._registry.name, "version": served}
        if failed is None:
            if (before.serving, before.warm, before.fault) != (now.serving, now.warm, None):
                log.info("serving", extra=extra)
        # Not by reason: MLflow's hold addresses of objects and differ each time.
        elif (before.serving, before.fault, before.wanted) != (now.serving, now.fault, now.wanted):
            log.warning("keeping the last good version", extra={**extra, "fault": now.fault, "reason": now.reason})
        return now

    def _told(self, failed: _Failed | _Failure | None) -> ReconcilerStatus:
        warm = self._serving is not None and self._warm == self._serving.digest
        fault, reason = (None, None) if failed is None else (failed.stage, failed.reason)
        return ReconcilerStatus(self._serving, warm, self._wanted, fault, reason)


@contextmanager
def _stage(stage: Stage) -> Iterator[None]:
    """Name the stage at which something failed, whatever it raised."""
    try:
        yield
    except RegistryError as error:
        raise _Failed(stage, str(error)) from error
    except Exception as error:
        # Ray puts a traceback into an error's text; what was raised stands at its end.
        last = next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), "")
        raise _Failed(stage, f"{type(error).__name__}: {last[:300]}") from error


def _resolved(model: ServedModel) -> Resolved:
    return Resolved(model.name, model.version, model.digest, model.source)
