from __future__ import annotations

import time

import pytest

from serve.errors import NotFound
from serve.jobs.artifacts import ArtifactStore
from serve.jobs.database import StoreUnavailable
from serve.jobs.store import WEEK_S, JobResult, StoredImage
from serve.jobs.sweep import condemn_orphans, sweep


@pytest.fixture
def artifacts() -> ArtifactStore:
    return ArtifactStore.open("memory:///")


async def mine() -> bool:
    """The lock is kept."""
    return True


async def stored(artifacts: ArtifactStore) -> set[str]:
    return {artifact.key async for found in artifacts.list() for artifact in found}


async def test_an_expired_jobs_artifacts_are_deleted_and_others_stay(store, submit, claim_one, clock, artifacts):
    key, other = await artifacts.put("demo", b"made", ".png"), await artifacts.put("demo", b"other", ".png")
    submit()
    store.succeed(claim_one(), JobResult((StoredImage(key, 7, 8, 8),)))
    assert await sweep(store.retention, artifacts, mine) == 0
    clock.advance(WEEK_S)
    assert await sweep(store.retention, artifacts, mine) == 2  # the input, which was never there, and the image
    assert await stored(artifacts) == {other}
    with pytest.raises(NotFound):
        await artifacts.get(key, "demo")
    assert store.retention.condemned() == []


async def test_orphans_go_when_they_are_old_enough(store, artifacts):
    key = await artifacts.put("demo", b"orphan", ".png")
    assert await condemn_orphans(store.retention, artifacts, time.time() - 3600) == 0
    assert await condemn_orphans(store.retention, artifacts, time.time() + 3600) == 1
    assert await sweep(store.retention, artifacts, mine) == 1
    assert not await artifacts.exists(key, "demo")


async def test_what_a_job_holds_is_no_orphan(store, submit, claim_one, artifacts):
    key = await artifacts.put("demo", b"made", ".png")
    submit()
    store.succeed(claim_one(), JobResult((StoredImage(key, 7, 8, 8),)))
    assert await condemn_orphans(store.retention, artifacts, time.time() + 3600) == 0
    assert await sweep(store.retention, artifacts, mine) == 0
    assert await artifacts.get(key, "demo") == b"made"


async def test_what_a_cut_off_write_left_goes_with_the_orphans(store, tmp_path):
    artifacts = ArtifactStore.open(tmp_path.as_uri())
    key = await artifacts.put("demo", b"made", ".png")
    (tmp_path / f"{key}#1").touch()
    assert await condemn_orphans(store.retention, artifacts, time.time() - 3600) == 0
    assert (tmp_path / f"{key}#1").exists()
    await condemn_orphans(store.retention, artifacts, time.time() + 3600)
    assert not (tmp_path / f"{key}#1").exists()


async def test_a_round_that_was_cut_off_is_finished_by_the_next(store, artifacts, monkeypatch):
    key = await artifacts.put("demo", b"orphan", ".png")
    store.retention.condemn([key])
    with monkeypatch.context() as patch:
        patch.setattr(artifacts, "delete", _unreachable)
        with pytest.raises(StoreUnavailable):
            await sweep(store.retention, artifacts, mine)
    assert store.retention.condemned() == [key]
    with monkeypatch.context() as patch:  # now the bytes are deleted, and the sweeper dies before it says so
        patch.setattr(store.retention, "swept", _died)
        with pytest.raises(RuntimeError):
            await sweep(store.retention, artifacts, mine)
    assert not await artifacts.exists(key, "demo")
    assert await sweep(store.retention, artifacts, mine) == 1
    assert store.retention.condemned() == []


async def test_who_has_lost_the_lock_deletes_nothing(store, artifacts):
    key = await artifacts.put("demo", b"orphan", ".png")
    store.retention.condemn([key])

    async def lost() -> bool:
        return False

    assert await sweep(store.retention, artifacts, lost) == 0
    assert await artifacts.get(key, "demo") == b"orphan"


async def _unreachable(keys: object) -> None:
    raise StoreUnavailable("away")


def _died(keys: object) -> None:
    raise RuntimeError("killed")
