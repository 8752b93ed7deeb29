"""How jobs end, counted by whoever committed the end: `serve.jobs.changes.Observer`."""

from __future__ import annotations

from typing import get_args

from serve.jobs.changes import Ended, Outcome, PutBack, Reason
from serve.telemetry.instruments import Instruments
from serve.telemetry.labels import Tenants
from serve.telemetry.names import METRICS


class Ends:
    """Counts ends and retries.

    Args:
        make: Where they are collected.
        tenants: Names of this process.
    """

    def __init__(self, make: Instruments, tenants: Tenants) -> None:
        self._tenants = tenants
        self._jobs = make.counter(METRICS["cn_jobs_total"])
        self._seconds = make.histogram(METRICS["cn_job_seconds"])
        self._retries = make.counter(METRICS["cn_job_retries_total"])
        self._set_aside = make.counter(METRICS["cn_jobs_set_aside_total"])
        self._gpu_seconds = make.counter(METRICS["cn_gpu_seconds_total"])
        self._gflop = make.counter(METRICS["cn_gflop_total"])
        self._images = make.counter(METRICS["cn_images_made_total"])
        self._store_errors = make.counter(METRICS["cn_store_errors_total"])
        for reason in get_args(Reason):
            self._retries.inc(0, {"reason": reason})
        self._set_aside.inc(0)
        self._store_errors.inc(0)

    def expect(self, tenant: str) -> None:
        """Begin the series of a tenant's ends before the first of them."""
        for outcome in get_args(Outcome):
            self._jobs.inc(0, {"tenant": self._tenants.label(tenant), "outcome": outcome})

    def ended(self, end: Ended) -> None:
        """Count a job that is over, and what it made."""
        tenant = {"tenant": self._tenants.label(end.tenant)}
        self._jobs.inc(1, tenant | {"outcome": end.outcome})
        if end.set_aside:
            self._set_aside.inc()
        if end.outcome == "succeeded":
            self._seconds.observe(end.seconds, tenant)
            self._images.inc(end.images, tenant)
            self._gflop.inc(end.gflop, tenant)
            self._gpu_seconds.inc((end.stages or {}).get("sampling", 0.0), tenant)

    def put_back(self, change: PutBack) -> None:
        """Count an attempt that was not the last."""
        self._retries.inc(1, {"reason": change.reason})

    def store_away(self) -> None:
        """Count a call that found the database away."""
        self._store_errors.inc()
