"""A registry that a test looks into."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry

from serve.jobs.job import Job, Lease, ModelVersion
from serve.jobs.spec import JobSpec

Value = Callable[..., float | None]


@pytest.fixture
def collected() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def value(collected: CollectorRegistry) -> Value:
    """The value of a series; none where there is no such series."""

    def look(name: str, **labels: str) -> float | None:
        return collected.get_sample_value(name, labels)

    return look


def lease(tenant: str, attempt: int = 1) -> Lease:
    """Of a job that was submitted at 1 s."""
    spec = JobSpec("a house", "", (1,), steps=4, guidance=7.5, width=64, height=64)
    job = Job(
        id="job_1", tenant=tenant, state="running", spec=spec, model=ModelVersion("demo", "1", "sha256:aa"),
        attempt=attempt, progress=None, result=None, error=None, created_at=1.0, started_at=1.0, finished_at=None,
        cancel_requested=False, webhook=None, idempotency_key=None, expires_at=None, expired_at=None,
        priority="interactive", deadline=None, rows=2, gflop=1.0,
    )  # fmt: skip
    return Lease(job, "d", 1, attempt, 0)
