from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from ops.load.accounts import Books, audit, is_excused
from ops.load.deeds import Deed
from ops.load.driver import Run
from ops.load.plan import Fault, Outcome, Plan
from serve.jobs.schema import jobs
from tests.ops.load.conftest import outcome, request

DEEDS = [Deed(100.0, 110.0, "kill api"), Deed(300.0, 310.0, "promote")]


@pytest.mark.parametrize(
    ("at", "what", "excused"),
    [
        (105.0, "ConnectionRefusedError", True),
        (105.0, "503 model-not-ready", True),
        (105.0, "500 internal", False),
        (105.0, "504 timed-out", False),
        (99.0, "ConnectionRefusedError", False),
        (200.0, "503 overloaded", False),
        (305.0, "503 model-not-ready", False),  # a promotion is no reason
    ],
)
def test_only_a_kill_excuses_and_only_what_is_not_there(at: float, what: str, excused: bool) -> None:
    assert is_excused(Fault(at, "POST /v1/jobs", what), DEEDS) is excused


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Callable[..., Books]]:
    """Audits outcomes against a database with these jobs: id, state and Idempotency-Key."""
    engine = sa.create_engine(f"sqlite:///{tmp_path}/jobs.db")
    jobs.create(engine)

    def make(rows: list[tuple[str, str, str]], *outcomes: Outcome, requests: int = 1) -> Books:
        fixed = {"tenant": "press", "spec": {}, "model_name": "m", "model_version": "1", "model_digest": "d"}
        with engine.begin() as connection:
            for job, state, key in rows:
                values = fixed | {"id": job, "state": state, "idempotency_key": key, "max_attempts": 1, "created_at": 0}
                connection.execute(sa.insert(jobs).values(values))
        plan = Plan("test", "", tmp_path, tmp_path, [request(i) for i in range(requests)])
        return audit(SimpleNamespace(reads=engine), Run(plan, list(outcomes)), DEEDS)  # type: ignore[arg-type]

    yield make
    engine.dispose()


def test_what_has_ended_is_in_order(books: Callable[..., Books]) -> None:
    found = books([("job_1", "succeeded", "a")], outcome(job="job_1"))
    assert found.clean
    assert (found.accepted, found.done) == (1, 1)


def test_an_accepted_job_without_a_row_is_lost(books: Callable[..., Books]) -> None:
    found = books([("job_1", "succeeded", "a")], outcome(job="job_2"))
    assert found.lost == ["job_2: no row"]


def test_a_job_without_an_end_is_lost(books: Callable[..., Books], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.load.accounts.SETTLED_WITHIN_S", 0.0)
    found = books([("job_1", "running", "a")], outcome(job="job_1", end="unfinished"))
    assert found.lost == ["job_1: running"]
    assert found.failed == ["request 0, job job_1: unfinished "]


def test_two_jobs_of_one_key_are_one_too_many(books: Callable[..., Books]) -> None:
    found = books([("job_1", "succeeded", "a"), ("job_2", "succeeded", "a")], outcome(job="job_1"))
    assert found.doubled == 1


def test_faults_are_told_apart_and_requests_nobody_told_of_are_counted(books: Callable[..., Books]) -> None:
    faults = Fault(105.0, "POST /v1/jobs", "503 overloaded"), Fault(200.0, "POST /v1/jobs", "500 internal")
    found = books([("job_1", "cancelled", "a")], outcome(job="job_1", end="cancelled", faults=faults), requests=2)
    assert found.excused == {"503 overloaded": 1}
    assert found.unexcused == ["200.0 s  POST /v1/jobs: 500 internal"]
    assert (found.cancelled, found.missing) == (1, 1)
