"""The dispatcher: claims jobs by lease, carries each through imaging and sampling, commits what came out.

It is the only part of Ray that writes SQL. Every write carries the lease's fence, so a dispatcher that lost a job
(too slow, cut off, thought dead) cannot change what the new owner does. It holds one streaming call per job for the
job's whole life.

It claims as many UNet rows as the samplers that run hold and a little more: while none runs, only jobs that need none.
Everything else stays in the store, where the order is fair; what was claimed stands in the engine's line, where it is
first come, first served. Where a later cluster has a sampler too, the store is left to that one (`fleet`).

What happens around a job costs it nothing: it is given back. A worker's death makes all that was in its hands suspect:
suspects run alone (`apart`), and a death then counts if a trial image comes out well on the same kind of worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import ParamSpec, TypeVar

import ray
from ray.serve.exceptions import DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from serve.config import Settings
from serve.deployments.apart import Apart
from serve.deployments.attempt import Attempt
from serve.deployments.chores import LOCK_TTL, Chores
from serve.deployments.demand import Demand
from serve.deployments.fates import fate_of, verdict
from serve.deployments.fleet import Fleet
from serve.deployments.gauges import Gauges
from serve.deployments.instruments import RayInstruments
from serve.deployments.outages import cause_of, pause_after, wait_out
from serve.deployments.progress import ProgressWriter
from serve.deployments.trials import Trials
from serve.errors import JobFailed
from serve.jobs.database import StoreUnavailable, reach_database, tell_away
from serve.jobs.retention import Kept
from serve.jobs.signals import first, open_signals
from serve.jobs.store import READY, JobStore, Lease, LeaseLost, ServedModel
from serve.registry.reconciler import Reconciler
from serve.registry.registry import Registry
from serve.telemetry import DispatcherMetrics, Tracing, configure_logging
from serve.tenancy.keys import Keys

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)

STORE_RETRY = (0.1, 2.0)  # seconds between calls to a store that is away: at first, at most
RETRY_PAUSE = (0.25, 8.0)  # seconds before another attempt: after the first one, at most. A dead replica is missed late
OUTAGE = 0.25  # of a lease: who could not reach the store for so long takes nobody for dead who could not either
SUSPECTS_EVERY = 1.0  # seconds between looks for suspects, while there is none
REST, LONGEST_REST = 0.002, 0.02  # seconds between looks for each running job, whose steps are changes; at most
IDLE_WAIT = 1.0  # seconds between looks at the queue when no signal came: expired leases send none
READIERS = "dispatchers"  # hold `READY` together: who comes must not wait until who goes is forgotten


class Dispatcher:
    """Claims and runs jobs; keeps the serving pointer true to the registry.

    Args:
        settings: Of the platform.
        imaging: Handle of the imaging deployment.
        sampler: Handle of the sampler deployment.
    """

    def __init__(self, settings: Settings, imaging: DeploymentHandle, sampler: DeploymentHandle) -> None:
        configure_logging(settings.log_level)
        self._settings = settings
        self._imaging = imaging
        self._sampler = sampler
        self._luck = random.random
        self._owner = f"dispatcher-{secrets.token_hex(6)}"
        database = reach_database(settings.database_url)
        self._metrics = DispatcherMetrics(RayInstruments())
        self._tracing = Tracing("dispatcher", settings.otlp_endpoint)
        kept = Kept(settings.retention_jobs, settings.retention_usage, settings.retention_audit)
        self._store = JobStore(database, max_attempts=settings.attempts, observer=self._metrics, kept=kept)
        self._signals = open_signals(database)
        # By task, not by job: a job that was lost may come back while its first task has not noticed yet.
        self._running: dict[asyncio.Task[None], Lease] = {}
        self._unwanted: set[asyncio.Task[None]] = set()  # whose jobs someone asked to cancel
        self._unsampled: dict[asyncio.Task[None], int] = {}  # rows that take seats, or will
        self._alone: asyncio.Task[None] | None = None  # a suspect's: nothing else runs
        self._apart = Apart(settings.job_timeout)
        self._idle = False
        self._suspects, self._suspects_at = False, float("-inf")  # whether one is ready; when to look again
        self._trials = Trials(imaging, sampler, settings.job_timeout)
        self._unsure = False  # whether the store may say that jobs are this dispatcher's of which it does not know
        self._silent_from = float("-inf")  # when others that are silent are dead, and not just kept from the store
        self._freed = asyncio.Event()
        self._fleet = Fleet(
            session_name(), sampler, self._store, self._ask, self._freed.set, lambda: bool(self._running)
        )
        self._demand = Demand(
            settings, self._store, self._ask, self._fleet, lambda: [self._running[task].job for task in self._unsampled]
        )
        self._progress = ProgressWriter(self._store, self._ask)
        registry = Registry.from_settings(settings)
        self._reconciler = Reconciler(registry, self._store, self._prepare, settings.bundle_cache, self._owner)
        self._chores = Chores(
            self._owner,
            settings,
            self._store,
            self._signals,
            self._reconciler.tick,
            lambda: self._reconciler.rollout,
            lambda: self._fleet.followed,
            self._metrics.webhook,
            self._tracing,
        )
        keys = Keys(database, self._store.clock)
        self._gauges = Gauges(self._store, keys, self._reconciler, self._signals, self._metrics, settings.model)
        loops = {
            "claim": self._claim,
            "fleet": self._fleet.loop,
            "demand": self._demand.loop,
            "progress": self._progress.loop,
            "lease": self._keep,
            "readiness": self._tell_readiness,
            "gauges": self._gauges.loop,
            **self._chores.loops(),
        }
        self._loops = [asyncio.create_task(loop(), name=name) for name, loop in loops.items()]

    def check_health(self) -> None:
        """Ray Serve replaces a dispatcher one of whose loops has ended."""
        for task in self._loops:
            if task.done() and not task.cancelled():
                raise RuntimeError(f"the {task.get_name()} loop has ended") from task.exception()

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Asked by Ray Serve for what its policy decides by (`scaling`)."""
        return self._demand.stats

    async def served(self) -> ServedModel | None:
        """What is served now; a new sampler prepares it before it is ready."""
        return await self._ask(self._store.serving, self._settings.model)

    async def _claim(self) -> None:
        """Take queued jobs while there is room, then wait for a sign of more, or for room."""
        while True:
            seen = self._signals.generation
            self._freed.clear()
            sampled = self._fleet.samplers > 0
            room = self._room()
            apart = await self._suspects_have_it(sampled)
            if apart and not self._running:
                suspect = await self._ask(self._store.claim_suspect, self._owner, self._settings.lease, sampled)
                if suspect is not None:
                    self._begin(suspect, alone=True)
            elif room and not apart:
                leases = await self._take(room, sampled)
                self._idle = not leases and not self._running
                for lease in leases:
                    self._begin(lease)
            if apart or not room or not sampled:
                await self._ask(self._store.end_late)
            await first(self._signals.changed(seen, timeout=IDLE_WAIT), self._freed.wait())
            await asyncio.sleep(min(REST * len(self._running), LONGEST_REST))
            await self._cancel_what_was_asked()

    async def _suspects_have_it(self, sampled: bool) -> bool:
        """Whether no ordinary job may start, as it is the turn of suspects."""
        if self._alone is not None:
            return True
        if self._fleet.followed:
            return False
        if self._suspects or time.monotonic() >= self._suspects_at:
            self._suspects_at = time.monotonic() + SUSPECTS_EVERY
            self._suspects = await self._ask(self._store.suspects, sampled)
        return self._apart.turn(self._suspects, self._idle)

    async def _take(self, room: int, sampled: bool) -> list[Lease]:
        """Claim jobs. After an outage what runs is renewed first, and what it hid is found."""

        async def take() -> list[Lease]:
            unknown = await self._find_unknown() if self._unsure else []
            silent = time.monotonic() >= self._silent_from
            claim = partial(self._store.claim, self._owner, self._settings.lease, room, sampled, silent)
            return unknown + await asyncio.to_thread(claim)

        return await self._outlast(take)

    async def _find_unknown(self) -> list[Lease]:
        """Jobs whose start was committed though the store seemed to be away, or whose end was not written."""
        self._unsure = False
        await self._renew()
        held = [lease.job.id for lease in self._running.values()]
        return await asyncio.to_thread(self._store.claim_unknown, self._owner, self._settings.lease, held)

    def _begin(self, lease: Lease, alone: bool = False) -> None:
        self._metrics.claimed(lease, self._store.clock())
        task = asyncio.create_task(self._run(lease, alone), name=lease.job.id)
        self._running[task] = lease
        self._unsampled[task] = max(1, lease.job.rows)
        if alone:
            self._alone = task
        task.add_done_callback(self._forget)

    def _room(self) -> int:
        """Rows that may be claimed. Jobs whose pictures are being stored take no seats, but there is an end to them."""
        if self._fleet.followed:
            return 0
        most = self._settings.claimed_rows(max(1, self._fleet.samplers))
        return max(0, min(most - sum(self._unsampled.values()), 2 * most - len(self._running)))

    def _sampled(self, task: asyncio.Task[None]) -> None:
        """A job's rows have left their seats."""
        if self._unsampled.pop(task, None) is not None:
            self._freed.set()

    async def _keep(self) -> None:
        """Renew the leases of running jobs well before they end; drop a job whose lease is gone."""
        while True:
            await asyncio.sleep(self._settings.lease / 4)
            await self._outlast(self._renew)

    async def _renew(self) -> None:
        running = dict(self._running)
        lost = await asyncio.to_thread(self._store.renew, list(running.values()), self._settings.lease)
        for task, lease in running.items():
            if lease in lost and task.cancel():
                self._metrics.lost()
                log.warning("lease lost", extra={"job_id": lease.job.id})

    async def _tell_readiness(self) -> None:
        """Keep the sign that the api's `/readyz` looks for, also while a tick waits for samplers to load."""
        while True:
            if self._reconciler.status.warm:
                await self._ask(self._store.take_lock, READY, READIERS, LOCK_TTL)
            await asyncio.sleep(1.0)

    def __del__(self) -> None:
        """Called by Ray Serve on an orderly end: samplers stop, the next dispatcher waits for no job and no lock."""
        for task in (*self._loops, *self._running):
            task.cancel()
        with contextlib.suppress(StoreUnavailable):
            self._store.give_back(self._running.values(), "The dispatcher was stopped; another goes on with the job.")
        self._tracing.close()
        self._chores.release()
        if not self._fleet.followed:
            with contextlib.suppress(StoreUnavailable):
                self._store.take_lock(READY, READIERS, 0)

    async def _prepare(self, served: ServedModel) -> None:
        """Have every running sampler load and warm a bundle; while Ray is starting there may be none yet.

        Where there may be none for long, one is asked for to try a version that is new. One that was served before was
        tried then: it is served without a sampler, and the next that comes learns it before it is ready.
        """
        try:
            while True:
                with contextlib.suppress(DeploymentUnavailableError):
                    if await self._sampler.broadcast("prepare", served).results_async():
                        await self._fleet.look()
                        return
                if self._settings.sampler_replicas[0] == 0:
                    before = await self.served()
                    if before is not None and before.digest == served.digest:
                        return
                    self._demand.trying = True
                await asyncio.sleep(0.2)
        finally:
            self._demand.trying = False

    async def _run(self, lease: Lease, alone: bool = False) -> None:
        """Carry one job to its end, whatever happens; the row says how it ended.

        Args:
            lease: Of the job.
            alone: It is a suspect, and nothing else runs.
        """
        task = asyncio.current_task()
        assert task is not None
        try:
            with self._tracing.span("job", lease.job.trace, {"job": lease.job.id, "attempt": lease.attempt}):
                if alone and not await self._trials.allows(lease.job):
                    await self._give_back_suspect(lease, alone=False)
                else:
                    await self._make(lease, task, alone)
        except LeaseLost:
            self._metrics.lost()
            log.warning("another dispatcher has the job now", extra={"job_id": lease.job.id})
        except asyncio.CancelledError:
            if task not in self._unwanted:
                raise  # the lease is lost, or this process ends and has given it back
            with contextlib.suppress(LeaseLost):
                await self._ask(self._store.cancelled, lease)

    async def _make(self, lease: Lease, task: asyncio.Task[None], alone: bool) -> None:
        """Make what the job asks for. What is away meanwhile is no fault of it, and costs it no attempt."""

        async def make() -> None:
            self._unsampled[task] = max(1, lease.job.rows)
            await self._attempt(lease).run(lambda: self._sampled(task))

        def told(error: Exception) -> None:
            log.warning("waiting for what is away", extra={"job_id": lease.job.id, "reason": str(cause_of(error))})

        try:
            await wait_out(make, told)
        except LeaseLost:
            raise
        except (asyncio.CancelledError, Exception) as error:
            if task.cancelling():
                raise
            # Where nobody here cancelled, Ray tells of a replica that was stopped.
            await self._settle(lease, error, alone)

    def _attempt(self, lease: Lease) -> Attempt:
        return Attempt(
            lease,
            self._imaging,
            self._sampler,
            self._store,
            self._ask,
            self._progress,
            lambda: self._luck() < self._settings.adherence_share,
            self._metrics,
            self._tracing,
        )

    async def _settle(self, lease: Lease, error: BaseException, alone: bool) -> None:
        """Tell a failure of request or model, which would only repeat, from one that another attempt may not meet."""
        about = {"job_id": lease.job.id, "attempt": lease.attempt}
        if (end := verdict(lease.job, error)) is not None:
            await self._ask(self._store.fail, lease, end.problem())
            return
        fate = fate_of(error)
        if fate == "died":
            log.warning("a worker died", extra={**about, "alone": alone, "reason": str(cause_of(error))})
            await self._give_back_suspect(lease, alone)
            return
        pause = pause_after(lease.attempt, *RETRY_PAUSE)
        if fate == "stopped":
            log.warning("attempt stopped", extra={**about, "reason": repr(cause_of(error))})
            await asyncio.sleep(pause)
            why = "The worker was stopped, or could not keep the job's pictures any longer, before the job had ended."
            await self._ask(self._store.give_back, [lease], why)
            return
        log.exception("attempt failed", exc_info=error, extra=about)
        await asyncio.sleep(pause)
        what = "images" if lease.job.spec.seeds else "control maps"
        kind = type(cause_of(error)).__name__
        failed = JobFailed(f"The {what} could not be made: the platform met an error ({kind}).")
        await self._ask(self._store.retry, lease, failed.problem())

    async def _give_back_suspect(self, lease: Lease, alone: bool) -> None:
        """Have a job run alone after its worker's death, which counts if it was alone and a trial image is made."""
        why, counts = "The worker died while it had this job, which costs no attempt; it runs alone next.", False
        if alone:
            counts = await self._trials.passes(lease.job)
            why = "The worker died while it ran this job and nothing else."
            if not counts:
                why = "The worker died, and a trial image could not be made either: it costs no attempt."
        await self._ask(self._store.died, lease, why, counts=counts, rest_s=self._trials.rest_s(lease.job))
        self._suspects_at = float("-inf")

    async def _cancel_what_was_asked(self) -> None:
        if self._running:
            asked = await self._ask(self._store.cancel_requests, self._owner)
            wanted = self._running.keys() - self._unwanted  # a second cancel would cut off the first one's last write
            for task in wanted:
                if self._running[task].job.id in asked:
                    self._unwanted.add(task)
                    task.cancel()

    def _forget(self, task: asyncio.Task[None]) -> None:
        lease = self._running.pop(task)
        self._sampled(task)
        self._unwanted.discard(task)
        if task is self._alone:
            self._alone = None
        if not self._running:  # what suspects wait for
            self._freed.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            self._unsure = True
            log.error("the end of an attempt was not written", exc_info=error, extra={"job_id": lease.job.id})

    async def _ask(self, call: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Call the store in a thread, again while it is away: what was accepted is not given up."""
        return await self._outlast(partial(asyncio.to_thread, call, *arguments, **options))

    async def _outlast(self, call: Callable[[], Awaitable[T]]) -> T:
        began = time.monotonic()

        def away(error: Exception) -> None:
            self._unsure = True
            if time.monotonic() - began >= OUTAGE * self._settings.lease:
                self._silent_from = time.monotonic() + self._settings.lease
            self._metrics.store_away()
            tell_away(log, error)

        return await wait_out(call, away, *STORE_RETRY)


def session_name() -> str:
    """Of the Ray cluster that this process is in, the same after a restart of the dispatcher."""
    name: str = ray.get_runtime_context().get_session_name()
    return name
