from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from ops.faults.history import Sums
from ops.load.accounts import Books, audit, is_excused
from ops.load.deeds import Deed
from ops.load.driver import Run
from ops.load.plan import Fault, Outcome, Plan
from ops.load.teams import write_keys
from serve.jobs.database import open_database
from serve.jobs.job import ModelVersion
from serve.jobs.spec import JobSpec
from serve.jobs.store import JobStore
from tests.ops.load.conftest import outcome, request

SPEC = JobSpec("a gear", "", (1,), steps=4, guidance=7.5, width=32, height=32)
MODEL = ModelVersion("demo", "1", "sha256:1")
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
def store(tmp_path: Path) -> Iterator[JobStore]:
    engine = open_database(f"sqlite:///{tmp_path}/jobs.db")
    yield JobStore(engine)
    engine.dispose()


@pytest.fixture
def books(store: JobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Books]:
    """Checks outcomes against the store."""
    write_keys(tmp_path / "keys.json", {"press": "cn_a_b"})
    monkeypatch.setattr("ops.load.accounts.records.bill", lambda url, keys: dict.fromkeys(keys, Sums()))

    def make(*outcomes: Outcome, requests: int = 1) -> Books:
        plan = Plan("test", "", tmp_path / "keys.json", tmp_path, [request(i) for i in range(requests)])
        rig = SimpleNamespace(reads=store._reads, artifacts=tmp_path / "artifacts")
        return audit(rig, Run(plan, list(outcomes)), DEEDS)  # type: ignore[arg-type]

    return make


def cancelled(store: JobStore) -> str:
    """A job of `press` that was cancelled."""
    job = store.submit("press", SPEC, MODEL)
    store.request_cancel(job.id, "press")
    return job.id


def test_what_has_ended_is_in_order(store: JobStore, books: Callable[..., Books]) -> None:
    found = books(outcome(job=cancelled(store), end="cancelled"))
    assert found.clean
    assert (found.accepted, found.cancelled) == (1, 1)


def test_an_accepted_job_without_a_row_is_lost(books: Callable[..., Books]) -> None:
    assert list(map(str, books(outcome(job="job_2")).breaches)) == ["lost: job_2: accepted, and there is no row"]


def test_a_job_that_its_caller_did_not_cancel_is_not_to_be_cancelled(
    store: JobStore, books: Callable[..., Books]
) -> None:
    found = books(outcome(job=cancelled(store)))
    assert [breach.rule for breach in found.breaches] == ["failed"]


def test_a_job_of_no_caller_is_counted_all_the_same(
    store: JobStore, books: Callable[..., Books], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ops.load.accounts.SETTLED_WITHIN_S", 0.0)
    job = store.submit("press", SPEC, MODEL).id
    assert [str(breach) for breach in books().breaches] == [f"lost: {job}: no end: queued"]


def test_faults_are_told_apart_and_requests_nobody_told_of_are_counted(
    store: JobStore, books: Callable[..., Books]
) -> None:
    faults = Fault(105.0, "POST /v1/jobs", "503 overloaded"), Fault(200.0, "POST /v1/jobs", "500 internal")
    found = books(outcome(job=cancelled(store), end="cancelled", faults=faults), requests=2)
    assert found.excused == {"503 overloaded": 1}
    assert found.unexcused == ["200.0 s  POST /v1/jobs: 500 internal"]
    assert (found.cancelled, found.missing) == (1, 1)
