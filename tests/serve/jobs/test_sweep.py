from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from functools import partial

import pytest

from serve.errors import NotFound
from serve.jobs.artifacts import ArtifactStore, key_of
from serve.jobs.database import StoreUnavailable
from serve.jobs.retention import DEFAULTS, PUT_OFF_S, TAKEN
from serve.jobs.store import WEEK_S, JobResult, StoredImage
from serve.jobs.sweep import condemn_orphans, sweep


@pytest.fixture
def artifacts() -> ArtifactStore:
    return ArtifactStore.open("memory:///")


def mine() -> bool:
    """The lock is kept."""
    return True


async def stored(artifacts: ArtifactStore) -> set[str]:
    return {artifact.key async for found in artifacts.list() for artifact in found}


async def test_an_expired_jobs_artifacts_are_deleted_and_others_stay(
    store, submit, claim_one, clock, artifacts, condemned
):
    key, other = await artifacts.put("demo", b"made", ".png"), await artifacts.put("demo", b"other", ".png")
    submit()
    store.succeed(claim_one(), JobResult((StoredImage(key, 7, 8, 8),)))
    assert await sweep(store.retention, artifacts, mine) == 0
    clock.advance(WEEK_S)
    assert await sweep(store.retention, artifacts, mine) == 2  # the input, which was never there, and the image
    assert await stored(artifacts) == {other}
    with pytest.raises(NotFound):
        await artifacts.get(key, "demo")
    assert condemned() == set()


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


async def test_more_than_are_taken_at_once_are_deleted_in_one_round(store, artifacts):
    keys = [await artifacts.put("demo", bytes([n]), ".png") for n in range(TAKEN + 1)]
    store.retention.condemn(keys)
    assert await sweep(store.retention, artifacts, mine) == len(keys)
    assert await stored(artifacts) == set()


async def test_what_a_cut_off_write_left_goes_with_the_orphans(store, tmp_path):
    artifacts = ArtifactStore.open(tmp_path.as_uri())
    key = await artifacts.put("demo", b"made", ".png")
    (tmp_path / f"{key}#1").touch()
    assert await condemn_orphans(store.retention, artifacts, time.time() - 3600) == 0
    assert (tmp_path / f"{key}#1").exists()
    await condemn_orphans(store.retention, artifacts, time.time() + 3600)
    assert not (tmp_path / f"{key}#1").exists()


async def test_a_round_that_was_cut_off_is_finished_by_the_next(store, artifacts, monkeypatch, condemned):
    key = await artifacts.put("demo", b"orphan", ".png")
    store.retention.condemn([key])
    with monkeypatch.context() as patch:
        patch.setattr(artifacts, "delete", _unreachable)
        with pytest.raises(StoreUnavailable):
            await sweep(store.retention, artifacts, mine)
    assert condemned() == {key}
    with monkeypatch.context() as patch:  # now the bytes are deleted, and the sweeper dies before it says so
        patch.setattr(store.retention, "swept", _died)
        with pytest.raises(RuntimeError):
            await sweep(store.retention, artifacts, mine)
    assert not await artifacts.exists(key, "demo")
    assert await sweep(store.retention, artifacts, mine) == 1
    assert condemned() == set()


async def test_rows_whose_time_is_over_go_however_many_there_are(store, submit, clock, artifacts, monkeypatch):
    monkeypatch.setattr(store.retention, "forget", partial(store.retention.forget, limit=1))
    for _ in range(3):
        store.request_cancel(submit().id, "demo")
    clock.advance(WEEK_S)
    await sweep(store.retention, artifacts, mine)
    clock.advance(DEFAULTS.jobs)
    await sweep(store.retention, artifacts, mine)
    assert store.page("demo").jobs == ()


async def test_one_that_cannot_be_deleted_is_put_off_and_told_and_the_others_go(
    store, tmp_path, clock, condemned, caplog
):
    artifacts = ArtifactStore.open(tmp_path.as_uri())
    keys = [await artifacts.put("demo", bytes([n]), ".png") for n in range(5)]
    (tmp_path / keys[0]).unlink()
    (tmp_path / keys[0]).mkdir()
    for key in keys:  # it is the oldest
        store.retention.condemn([key])
        clock.advance(1)
    assert await sweep(store.retention, artifacts, mine) == 4
    assert condemned() == {keys[0]}
    (told,) = [record for record in caplog.records if record.name == "serve.jobs.sweep"]
    assert told.artifacts == 1
    assert await sweep(store.retention, artifacts, mine) == 0
    clock.advance(PUT_OFF_S)
    (tmp_path / keys[0]).rmdir()
    assert await sweep(store.retention, artifacts, mine) == 1


async def test_a_store_in_which_nothing_can_be_deleted_ends_the_round(store, tmp_path, condemned):
    artifacts = ArtifactStore.open(tmp_path.as_uri())
    keys = [key_of("demo", f"{n:064x}", ".png") for n in range(TAKEN + 1)]
    for key in keys:
        (tmp_path / key).mkdir(parents=True)
    store.retention.condemn(keys)
    assert await sweep(store.retention, artifacts, mine) == 0
    assert len(store.retention.take().keys) == 1


async def test_who_has_lost_the_lock_deletes_nothing(store, artifacts, condemned):
    key = await artifacts.put("demo", b"orphan", ".png")
    store.retention.condemn([key])
    assert await sweep(store.retention, artifacts, lambda: False) == 0
    assert await artifacts.get(key, "demo") == b"orphan"
    asked = iter([True, True, False])  # for old rows, for the taking, for the deletion
    assert await sweep(store.retention, artifacts, lambda: next(asked, False)) == 0
    assert await artifacts.get(key, "demo") == b"orphan"
    assert condemned() == {key}


@pytest.mark.parametrize("kind", ["folder", "memory"])
async def test_a_sweeper_that_stood_still_deletes_nothing_that_is_held_by_then(
    store, submit, claim_one, tmp_path, monkeypatch, kind
):
    """It took a key, and goes on after another deleted it and the same picture was made again; its lock is over."""
    artifacts = ArtifactStore.open(tmp_path.as_uri() if kind == "folder" else "memory:///")
    key = await artifacts.put("demo", b"made", ".png")
    store.retention.condemn([key])
    deleting = artifacts.delete

    async def after_the_other(wanted: Callable[[], Collection[str]]) -> dict[str, Exception | None]:
        monkeypatch.undo()
        assert await sweep(store.retention, artifacts, mine) == 1
        submit()
        lease = claim_one()
        await artifacts.put("demo", b"made", ".png")
        store.succeed(lease, JobResult((StoredImage(key, 7, 8, 8),)))
        return await deleting(wanted)

    monkeypatch.setattr(artifacts, "delete", after_the_other)
    assert await sweep(store.retention, artifacts, mine) == 0
    assert await artifacts.get(key, "demo") == b"made"


async def test_what_another_process_may_be_deleting_in_a_folder_is_not_swept(store, tmp_path, condemned):
    """It stands still between its look and the deletion, so nobody may hold the key before it is over."""
    artifacts = ArtifactStore.open(tmp_path.as_uri())
    key = await artifacts.put("demo", b"orphan", ".png")
    store.retention.condemn([key])

    def looks() -> list[str]:
        with pytest.raises(StoreUnavailable):
            asyncio.run(sweep(store.retention, artifacts, mine))
        assert condemned() == {key}
        return []

    await artifacts.delete(looks)
    assert await sweep(store.retention, artifacts, mine) == 1


async def _unreachable(wanted: object) -> None:
    raise StoreUnavailable("away")


def _died(*arguments: object) -> None:
    raise RuntimeError("killed")
