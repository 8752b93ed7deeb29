"""A history is read from a real store: what the platform writes is what the checker accepts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from ops.faults import records
from ops.faults.checker import check
from ops.faults.history import History, Submission, Sums, WebhookCall
from serve.deployments.chores import SWEEPER
from serve.jobs.artifacts import ArtifactStore
from serve.jobs.cost import Cost
from serve.jobs.database import open_database
from serve.jobs.job import JobResult, ModelVersion, StoredImage
from serve.jobs.spec import JobSpec
from serve.jobs.store import JobStore

MODEL = ModelVersion("demo", "1", "sha256:1")
SPEC = JobSpec("a brass gear", "", (1, 2), steps=4, guidance=7.5, width=32, height=32)
HOOK = "https://press.example/ended"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = open_database(f"sqlite:///{tmp_path}/jobs.db")
    yield engine
    engine.dispose()


@pytest.fixture
def store(engine: sa.Engine) -> JobStore:
    return JobStore(engine)


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore.open((tmp_path / "artifacts").as_uri())


def put(artifacts: ArtifactStore, data: bytes) -> str:
    return asyncio.run(artifacts.put("press", data, ".png"))


def made(store: JobStore, artifacts: ArtifactStore, webhook: str | None = None) -> str:
    """A job that was started twice, and succeeded."""
    job = store.submit("press", SPEC, MODEL, cost=Cost(4, 8.0, 4, 2.0), webhook=webhook)
    (lease,) = store.claim("first", 30.0, 8)
    store.give_back([lease], "The dispatcher was stopped.")
    (lease,) = store.claim("second", 30.0, 8)
    images = tuple(StoredImage(put(artifacts, bytes([seed])), seed, 32, 32) for seed in SPEC.seeds)
    store.image_done(lease, 0, images[0])
    store.succeed(lease, JobResult(images), [1])
    return job.id


def read(engine: sa.Engine, artifacts: ArtifactStore, *submissions: Submission, swept: bool = False) -> History:
    return records.read(engine, artifacts, submissions, (), {"press": Sums(1, 2, 8, 8.0)}, swept=swept)


def test_what_the_platform_writes_is_accepted(engine: sa.Engine, store: JobStore, artifacts: ArtifactStore) -> None:
    job = made(store, artifacts)
    seen = Submission("press", None, (job,), True, end="succeeded", pictures=("p", "q"))
    history = read(engine, artifacts, seen)
    assert check(history) == []
    assert (history.jobs[0].attempt, len(history.jobs[0].files), history.taken) == (2, 2, {"press": Sums(0, 2, 0, 8.0)})
    assert [event.kind for event in history.events] == [
        "queued",
        "started",
        "queued",
        "started",
        "image",
        "image",
        "succeeded",
    ]


def test_a_file_that_is_damaged_is_refused(
    engine: sa.Engine, store: JobStore, artifacts: ArtifactStore, tmp_path: Path
) -> None:
    job = made(store, artifacts)
    key = put(artifacts, b"\x01")
    (tmp_path / "artifacts" / key).write_bytes(b"")
    found = check(read(engine, artifacts, Submission("press", None, (job,), True)))
    assert [(breach.rule, breach.what) for breach in found] == [("files", f"{key} is damaged")]


def test_a_webhook_that_is_due_is_read(engine: sa.Engine, store: JobStore, artifacts: ArtifactStore) -> None:
    job = made(store, artifacts, HOOK)
    history = read(engine, artifacts, Submission("press", None, (job,), True))
    assert [breach.rule for breach in check(history)] == ["lost"]
    (delivery,) = history.deliveries
    call = WebhookCall("press", delivery.id, job, "succeeded")
    told = records.read(engine, artifacts, history.submissions, [call], history.billed)
    assert check(told) == []


def test_a_file_that_no_row_names_is_deleted_and_then_none_is_left(
    engine: sa.Engine, store: JobStore, artifacts: ArtifactStore
) -> None:
    job = made(store, artifacts)
    orphan = put(artifacts, b"of an attempt that was cut off")
    seen = Submission("press", None, (job,), True)
    assert [breach.about for breach in check(read(engine, artifacts, seen, swept=True))] == [orphan]
    assert records.tidy(engine, artifacts)
    assert check(read(engine, artifacts, seen, swept=True)) == []


def test_a_picture_that_was_told_of_before_the_job_was_cancelled_is_kept(
    engine: sa.Engine, store: JobStore, artifacts: ArtifactStore
) -> None:
    job = store.submit("press", SPEC, MODEL, cost=Cost(4, 8.0, 4, 2.0))
    (lease,) = store.claim("first", 30.0, 8)
    store.image_done(lease, 0, StoredImage(put(artifacts, b"told"), 1, 32, 32))
    store.cancelled(lease)
    seen = Submission("press", None, (job.id,), True, cancelled=True)
    assert records.tidy(engine, artifacts)
    history = records.read(engine, artifacts, [seen], (), {"press": Sums()}, swept=True)
    assert check(history) == []
    assert len(history.files) == 1


def test_nothing_is_deleted_beside_another_sweeper(
    engine: sa.Engine, store: JobStore, artifacts: ArtifactStore
) -> None:
    assert store.take_lock(SWEEPER, "dispatcher-1", 60.0)
    assert not records.tidy(engine, artifacts)
