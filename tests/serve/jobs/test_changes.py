"""What is told of jobs, and by whom."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from serve.errors import DeadlineMissed, InvalidRequest, JobFailed
from serve.jobs.changes import Ended, PutBack, outcome
from serve.jobs.cost import Cost
from serve.jobs.spec import JobSpec
from serve.jobs.store import JobResult, JobStore, ModelVersion, StoredImage
from tests.serve.jobs.conftest import Clock

MODEL = ModelVersion("demo", "1", "sha256:aa")


class Heard:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.changes: list[Ended | PutBack] = []

    def ended(self, end: Ended) -> None:
        self.changes.append(end)

    def put_back(self, change: PutBack) -> None:
        self.changes.append(change)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def watched(engine: sa.Engine, clock: Clock, heard: Heard) -> JobStore:
    return JobStore(engine, clock, max_attempts=2, observer=heard)


def submit(store: JobStore, spec: JobSpec, deadline_s: float | None = None) -> str:
    return store.submit("red", spec, MODEL, cost=Cost(4, 8.0, spec.steps, 0.1), deadline_s=deadline_s).id


def test_success_is_told_with_what_was_made(watched: JobStore, clock: Clock, heard: Heard, spec: JobSpec) -> None:
    submit(watched, spec)
    (lease,) = watched.claim("d", 30, 100)
    clock.advance(5)
    watched.succeed(lease, JobResult((StoredImage("red/1.png", 1, 8, 8),), timings={"sampling": 2.0}))
    assert heard.changes == [Ended("red", "succeeded", 5.0, False, 1, {"sampling": 2.0}, 8.0)]


def test_an_attempt_that_failed_is_told_and_the_last_one_sets_the_job_aside(
    watched: JobStore, heard: Heard, spec: JobSpec
) -> None:
    submit(watched, spec)
    for _ in range(2):
        (lease,) = watched.claim("d", 30, 100)
        watched.retry(lease, JobFailed("no").problem())
    assert heard.changes == [PutBack("red", "failure"), Ended("red", "failed", 0.0, set_aside=True)]


def test_a_lease_that_ran_out_is_told_by_who_finds_it(
    watched: JobStore, clock: Clock, heard: Heard, spec: JobSpec
) -> None:
    submit(watched, spec)
    watched.claim("gone", 30, 100)
    clock.advance(31)
    watched.claim("d", 30, 100)
    assert heard.changes == [PutBack("red", "lease")]


def test_a_job_that_is_late_is_told(watched: JobStore, clock: Clock, heard: Heard, spec: JobSpec) -> None:
    submit(watched, spec, deadline_s=10)
    clock.advance(11)
    watched.end_late()
    assert heard.changes == [Ended("red", "late", 11.0)]


def test_a_cancellation_is_told_by_the_api(watched: JobStore, heard: Heard, spec: JobSpec) -> None:
    watched.request_cancel(submit(watched, spec), "red")
    assert heard.changes == [Ended("red", "cancelled", 0.0)]


def test_what_was_not_committed_is_not_told(watched: JobStore, clock: Clock, heard: Heard, spec: JobSpec) -> None:
    submit(watched, spec)
    (lease,) = watched.claim("gone", 30, 100)
    clock.advance(31)
    watched.claim("d", 30, 100)
    heard.changes.clear()
    with pytest.raises(Exception, match="is over"):
        watched.succeed(lease, JobResult((StoredImage("red/1.png", 1, 8, 8),)))
    assert heard.changes == []


@pytest.mark.parametrize(
    ("error", "wanted"),
    [(InvalidRequest("no"), "refused"), (DeadlineMissed("late"), "late"), (JobFailed("broken"), "failed")],
)
def test_whose_fault_it_was_is_told(error: Exception, wanted: str) -> None:
    assert outcome("failed", error.problem()) == wanted  # type: ignore[attr-defined]
