"""What a dispatcher counts: how jobs go through, and how the queue stands."""

from __future__ import annotations

from collections.abc import Iterable

from serve.jobs.census import Census
from serve.jobs.changes import Ended, PutBack
from serve.jobs.job import Lease
from serve.telemetry.ends import Ends
from serve.telemetry.instruments import Instruments
from serve.telemetry.labels import OTHER, Tenants
from serve.telemetry.names import METRICS

STAGES = ("preparing", "sampling", "publishing")
"""Of a job's timings; `queued` and `total` have metrics of their own."""

DELIVERIES = ("delivered", "failed")


class DispatcherMetrics:
    """What a dispatcher counts; an `Observer` of its store. From any thread.

    Args:
        make: `ray.util.metrics` in a replica.
    """

    def __init__(self, make: Instruments) -> None:
        self._tenants = Tenants()
        self._ends = Ends(make, self._tenants)
        self._queue_seconds = make.histogram(METRICS["cn_queue_seconds"])
        self._first_step = make.histogram(METRICS["cn_first_step_seconds"])
        self._stage = make.histogram(METRICS["cn_stage_seconds"])
        self._lost = make.counter(METRICS["cn_leases_lost_total"])
        self._webhooks = make.counter(METRICS["cn_webhooks_total"])
        self._queue_jobs = make.gauge(METRICS["cn_queue_jobs"])
        self._queue_gflop = make.gauge(METRICS["cn_queue_gflop"])
        self._oldest = make.gauge(METRICS["cn_queue_oldest_seconds"])
        self._running = make.gauge(METRICS["cn_running_jobs"])
        self._overdue = make.gauge(METRICS["cn_leases_overdue"])
        self._served = make.gauge(METRICS["cn_model_served"])
        self._ready = make.gauge(METRICS["cn_model_ready"])
        self._cut_off = make.gauge(METRICS["cn_signals_cut_off_seconds"])
        self._fault = make.gauge(METRICS["cn_registry_fault"])
        self._key_expiry = make.gauge(METRICS["cn_key_expiry_timestamp"])
        self._lost.inc(0)
        for outcome in DELIVERIES:
            self._webhooks.inc(0, {"outcome": outcome})
        self._queued: set[str] = set()  # labels that were set: they must go to 0, as a gauge forgets nothing
        self._version: dict[str, str] | None = None

    def ended(self, end: Ended) -> None:
        """Count a job that is over."""
        self._ends.ended(end)
        for stage, seconds in (end.stages or {}).items():
            if stage in STAGES:
                self._stage.observe(seconds, {"stage": stage})

    def put_back(self, change: PutBack) -> None:
        """Count an attempt that was not the last."""
        self._ends.put_back(change)

    def store_away(self) -> None:
        """Count a call that found the database away."""
        self._ends.store_away()

    def claimed(self, lease: Lease, now: float) -> None:
        """Time a job's wait, at its first start."""
        self._ends.expect(lease.job.tenant)
        if lease.attempt == 1:
            waited = max(0.0, now - lease.job.created_at)
            self._queue_seconds.observe(waited, {"tenant": self._tenants.label(lease.job.tenant)})

    def first_step(self, seconds: float) -> None:
        """Time from a job's submission to the first news of a step."""
        self._first_step.observe(seconds)

    def lost(self) -> None:
        """Count a lease that ended while this dispatcher worked on its job."""
        self._lost.inc()

    def webhook(self, outcome: str) -> None:
        """Count an attempt to deliver: delivered or failed."""
        self._webhooks.inc(1, {"outcome": outcome})

    def census(self, census: Census) -> None:
        """Show how the queue stands."""
        jobs: dict[str, float] = dict.fromkeys(self._queued, 0)
        gflop = dict(jobs)
        for tenant in sorted(census.queued):
            label = self._tenants.label(tenant)
            jobs[label] = jobs.get(label, 0) + census.queued[tenant].jobs
            gflop[label] = gflop.get(label, 0) + census.queued[tenant].gflop
        self._queued = set(jobs) or {OTHER}
        for label in self._queued:
            self._queue_jobs.set(jobs.get(label, 0), {"tenant": label})
            self._queue_gflop.set(gflop.get(label, 0), {"tenant": label})
        self._oldest.set(census.oldest_s)
        self._running.set(sum(census.running.values()))
        self._overdue.set(census.overdue)

    def serving(self, model: str, version: str) -> None:
        """Show which version new jobs get."""
        now = {"model": model, "version": version}
        if self._version is not None and self._version != now:
            self._served.set(0, self._version)
        self._served.set(1, now)
        self._version = now

    def ready(self, warm: bool) -> None:
        """Show whether samplers hold what is served."""
        self._ready.set(float(warm))

    def cut_off(self, seconds: float) -> None:
        """Show for how long changes in the database have not been heard."""
        self._cut_off.set(seconds)

    def fault(self, stage: str | None, stages: Iterable[str]) -> None:
        """Show which of the `stages` keeps the champion from being served, if one does."""
        for one in stages:
            self._fault.set(float(one == stage), {"stage": one})

    def key_expiry(self, at: float | None) -> None:
        """Show when the next API key expires, epoch seconds."""
        self._key_expiry.set(at or 0.0)
