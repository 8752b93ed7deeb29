"""The reconciler against a real MLflow and a real job store; only the samplers are a fake."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from controlnet.bundle import Bundle
from serve.jobs.database import open_database
from serve.jobs.rollouts import Rollout
from serve.jobs.store import JobStore, ServedModel
from serve.registry.reconciler import FIRST_WAIT, LONGEST_WAIT, RECONCILER, Reconciler
from serve.registry.registry import RegisteredVersion, Registry, Resolved
from tests.serve.registry.conftest import artifacts, client, closed_port, flip

Write = Callable[[str], Bundle]


class Samplers:
    """Prepare what they are told, or break."""

    def __init__(self) -> None:
        self.prepared: list[str] = []
        self.error: Exception | None = None

    async def prepare(self, model: ServedModel) -> None:
        self.prepared.append(model.version)
        if self.error is not None:
            raise self.error


class Counting(Registry):
    """A registry that counts what it is asked."""

    fetches = 0

    def fetch(self, resolved: Resolved, cache: Path, keep: Collection[str] = ()) -> Path:
        self.fetches += 1
        return super().fetch(resolved, cache, keep)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def registry(uri: str, mlflow_folder: Path, new_name: Callable[[], str]) -> Counting:
    return Counting(uri, new_name(), mlflow_folder / "artifacts")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = open_database(f"sqlite:///{tmp_path / 'jobs.db'}")
    yield engine
    engine.dispose()


@pytest.fixture
def store(database: sa.Engine) -> JobStore:
    return JobStore(database)


@pytest.fixture
def samplers() -> Samplers:
    return Samplers()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def reconciler(registry: Counting, store: JobStore, samplers: Samplers, cache: Path, clock: Clock) -> Reconciler:
    return Reconciler(registry, store, samplers.prepare, cache, clock=clock)


@pytest.fixture
def first(registry: Counting, bundle: Write) -> RegisteredVersion:
    """Version 1 is the champion."""
    version = registry.push(bundle("1").folder)
    registry.promote(version.version)
    return version


def served(store: JobStore, registry: Registry) -> str | None:
    model = store.serving(registry.name)
    return None if model is None else model.version


def promote_second(registry: Registry, bundle: Write) -> RegisteredVersion:
    version = registry.push(bundle("2").folder)
    registry.promote(version.version)
    return version


async def test_an_empty_registry_serves_nothing_and_says_so(reconciler: Reconciler) -> None:
    status = await reconciler.tick()
    assert (status.serving, status.warm, status.fault) == (None, False, "champion")


async def test_the_champion_is_prepared_then_served(
    reconciler: Reconciler, registry: Counting, store: JobStore, first: RegisteredVersion, tmp_path: Path
) -> None:
    status = await reconciler.tick()
    model = store.serving(registry.name)
    assert status.serving == model
    assert status.warm
    assert (status.fault, status.reason) == (None, None)
    assert model is not None
    assert (model.version, model.digest) == ("1", first.digest)
    assert model.source == f"models:/{registry.name}/1"
    assert model.manifest["files"].keys() == Bundle.open(tmp_path / "bundle-1").manifest.files.keys()


async def test_before_the_first_look_nothing_is_known(reconciler: Reconciler, registry: Counting) -> None:
    assert reconciler.rollout == Rollout(registry.name, "loading", None, None)


@pytest.mark.usefixtures("first")
class TestServing:
    """Version 1 is served."""

    @pytest.fixture(autouse=True)
    async def _serve(self, first: RegisteredVersion, reconciler: Reconciler) -> None:
        await reconciler.tick()

    async def test_nothing_to_do_does_nothing(
        self, reconciler: Reconciler, registry: Counting, samplers: Samplers
    ) -> None:
        await reconciler.tick()
        assert registry.fetches == 1
        assert samplers.prepared == ["1"]

    async def test_a_new_champion_takes_over(
        self, reconciler: Reconciler, registry: Counting, store: JobStore, bundle: Write
    ) -> None:
        promote_second(registry, bundle)
        assert (await reconciler.tick()).fault is None
        assert served(store, registry) == "2"

    async def test_the_pointer_flips_after_the_samplers(
        self, reconciler: Reconciler, registry: Counting, store: JobStore, samplers: Samplers, bundle: Write
    ) -> None:
        seen = []

        async def prepare(model: ServedModel) -> None:
            seen.append((model.version, served(store, registry)))

        samplers.prepare = prepare  # type: ignore[method-assign]
        reconciler._prepare = prepare
        promote_second(registry, bundle)
        await reconciler.tick()
        assert seen == [("2", "1")]

    async def test_rollback_needs_no_artifacts(
        self, reconciler: Reconciler, registry: Counting, store: JobStore, samplers: Samplers, bundle: Write
    ) -> None:
        promote_second(registry, bundle)
        await reconciler.tick()
        shutil.rmtree(artifacts(registry, "1"))
        registry.promote("1")
        assert (await reconciler.tick()).fault is None
        assert served(store, registry) == "1"
        assert samplers.prepared == ["1", "2", "1"]

    async def keeps_first(self, reconciler: Reconciler, registry: Counting, store: JobStore, fault: str) -> str:
        status = await reconciler.tick()
        assert status.fault == fault
        assert status.warm
        assert status.serving is not None
        assert status.serving.version == served(store, registry) == "1"
        assert status.reason is not None
        return status.reason

    async def test_a_deleted_alias(self, reconciler: Reconciler, registry: Counting, store: JobStore) -> None:
        client(registry).delete_registered_model_alias(registry.name, "champion")
        reason = await self.keeps_first(reconciler, registry, store, "champion")
        assert reason == f"No version of {registry.name} is its champion."

    async def test_a_deleted_version(self, reconciler: Reconciler, registry: Counting, store: JobStore) -> None:
        client(registry).delete_model_version(registry.name, "1")
        await self.keeps_first(reconciler, registry, store, "champion")

    async def test_a_deleted_model(self, reconciler: Reconciler, registry: Counting, store: JobStore) -> None:
        client(registry).delete_registered_model(registry.name)
        await self.keeps_first(reconciler, registry, store, "champion")

    async def test_a_flipped_bit(
        self, reconciler: Reconciler, registry: Counting, store: JobStore, samplers: Samplers, bundle: Write
    ) -> None:
        promote_second(registry, bundle)
        flip(artifacts(registry, "2") / "unet.safetensors")
        reason = await self.keeps_first(reconciler, registry, store, "fetch")
        assert "unet.safetensors" in reason
        assert samplers.prepared == ["1"]

    async def test_a_wrong_digest_tag(
        self, reconciler: Reconciler, registry: Counting, store: JobStore, bundle: Write
    ) -> None:
        promote_second(registry, bundle)
        client(registry).set_model_version_tag(registry.name, "2", "digest", "sha256:" + 64 * "0")
        assert "has the digest" in await self.keeps_first(reconciler, registry, store, "fetch")

    async def test_no_digest_tag(
        self, reconciler: Reconciler, registry: Counting, store: JobStore, bundle: Write
    ) -> None:
        promote_second(registry, bundle)
        client(registry).delete_model_version_tag(registry.name, "2", "digest")
        assert "no digest" in await self.keeps_first(reconciler, registry, store, "resolve")

    async def test_a_bundle_without_a_manifest(
        self, reconciler: Reconciler, registry: Counting, store: JobStore, bundle: Write
    ) -> None:
        promote_second(registry, bundle)
        (artifacts(registry, "2") / "bundle.json").unlink()
        assert "bundle.json" in await self.keeps_first(reconciler, registry, store, "fetch")

    async def test_samplers_that_cannot_prepare(
        self, reconciler: Reconciler, registry: Counting, store: JobStore, samplers: Samplers, bundle: Write
    ) -> None:
        promote_second(registry, bundle)
        samplers.error = RuntimeError("Traceback ...\n  File ...\nOutOfMemoryError: 12 GB asked")
        reason = await self.keeps_first(reconciler, registry, store, "prepare")
        assert reason == "RuntimeError: OutOfMemoryError: 12 GB asked"

    async def test_mlflow_away(
        self, reconciler: Reconciler, registry: Counting, store: JobStore, samplers: Samplers, cache: Path
    ) -> None:
        reconciler._registry = Registry(closed_port(), registry.name)
        await self.keeps_first(reconciler, registry, store, "resolve")

    async def test_a_repaired_registry_is_followed_again(
        self, reconciler: Reconciler, registry: Counting, store: JobStore, bundle: Write
    ) -> None:
        client(registry).delete_registered_model_alias(registry.name, "champion")
        await self.keeps_first(reconciler, registry, store, "champion")
        promote_second(registry, bundle)
        assert (await reconciler.tick()).fault is None
        assert served(store, registry) == "2"

    async def test_a_bad_version_is_not_downloaded_again_at_once(
        self, reconciler: Reconciler, registry: Counting, clock: Clock, bundle: Write
    ) -> None:
        promote_second(registry, bundle)
        flip(artifacts(registry, "2") / "unet.safetensors")
        tried = []
        for second in range(60):
            clock.now = float(second)
            before = registry.fetches
            status = await reconciler.tick()
            assert status.fault == "fetch"
            tried += [second] * (registry.fetches - before)
        assert tried == [0, FIRST_WAIT, 3 * FIRST_WAIT, 7 * FIRST_WAIT]

    async def test_the_wait_has_a_bound(
        self, reconciler: Reconciler, registry: Counting, samplers: Samplers, clock: Clock, bundle: Write
    ) -> None:
        promote_second(registry, bundle)
        samplers.error = RuntimeError("no")
        for _ in range(20):
            await reconciler.tick()
            clock.now += LONGEST_WAIT
        assert samplers.prepared == ["1"] + 20 * ["2"]

    async def test_another_version_need_not_wait(
        self, reconciler: Reconciler, registry: Counting, store: JobStore, bundle: Write
    ) -> None:
        promote_second(registry, bundle)
        flip(artifacts(registry, "2") / "unet.safetensors")
        await self.keeps_first(reconciler, registry, store, "fetch")
        registry.push(bundle("3").folder)
        registry.promote("3")
        await reconciler.tick()
        assert served(store, registry) == "3"

    async def test_going_back_ends_the_fault_and_coming_again_tries_again(
        self, reconciler: Reconciler, registry: Counting, store: JobStore, samplers: Samplers, bundle: Write
    ) -> None:
        promote_second(registry, bundle)
        samplers.error = RuntimeError("no")
        await self.keeps_first(reconciler, registry, store, "prepare")
        registry.promote("1")
        assert (await reconciler.tick()).fault is None
        samplers.error = None
        registry.promote("2")
        await reconciler.tick()
        assert served(store, registry) == "2"

    async def test_a_repaired_version_is_adopted_after_the_wait(
        self, reconciler: Reconciler, registry: Counting, store: JobStore, clock: Clock, bundle: Write
    ) -> None:
        promote_second(registry, bundle)
        spoiled = artifacts(registry, "2") / "unet.safetensors"
        flip(spoiled)
        await self.keeps_first(reconciler, registry, store, "fetch")
        flip(spoiled)
        clock.now += FIRST_WAIT
        await reconciler.tick()
        assert served(store, registry) == "2"

    async def test_a_store_that_is_away(self, reconciler: Reconciler, store: JobStore, database: sa.Engine) -> None:
        with database.begin() as connection:
            connection.execute(sa.text("ALTER TABLE serving RENAME TO gone"))
        status = await reconciler.tick()
        assert status.fault == "store"
        assert status.serving is not None
        assert status.serving.version == "1"

    async def test_a_version_whose_reconciler_lost_its_lock_is_not_served(
        self, registry: Counting, store: JobStore, cache: Path, bundle: Write
    ) -> None:
        """Another follows the registry by then, and has served what the champion is now."""

        async def prepare(model: ServedModel) -> None:
            if model.version == "2":
                store.take_lock(RECONCILER, "a", 0)
                assert store.take_lock(RECONCILER, "b", 60)

        reconciler = Reconciler(registry, store, prepare, cache, "a")
        assert store.take_lock(RECONCILER, "a", 60)
        await reconciler.tick()
        promote_second(registry, bundle)
        status = await reconciler.tick()
        assert (status.fault, served(store, registry)) == ("store", "1")

    async def test_a_rollout_is_served_then_loading_then_served(
        self, reconciler: Reconciler, registry: Counting, bundle: Write
    ) -> None:
        seen = [reconciler.rollout]

        async def prepare(model: ServedModel) -> None:
            seen.append(reconciler.rollout)

        reconciler._prepare = prepare
        promote_second(registry, bundle)
        await reconciler.tick()
        told = [(one.state, one.wanted, one.serving) for one in (*seen, reconciler.rollout)]
        assert told == [("served", "1", "1"), ("loading", "2", "1"), ("served", "2", "2")]

    async def test_a_rollout_that_fails_says_so_while_it_is_tried_again(
        self, reconciler: Reconciler, registry: Counting, samplers: Samplers, clock: Clock, bundle: Write
    ) -> None:
        promote_second(registry, bundle)
        samplers.error = IndexError("index out of range in self")
        await reconciler.tick()
        reason = "IndexError: index out of range in self"
        failed = Rollout(registry.name, "failed", "2", "1", "prepare", reason)
        assert reconciler.rollout == failed
        seen = []

        async def prepare(model: ServedModel) -> None:
            seen.append(reconciler.rollout)

        reconciler._prepare = prepare
        clock.now += FIRST_WAIT
        await reconciler.tick()
        assert seen == [failed]
        assert reconciler.rollout == Rollout(registry.name, "served", "2", "2")

    async def test_a_registry_that_is_away_leaves_what_is_served_served(self, reconciler: Reconciler) -> None:
        reconciler._registry = Registry(closed_port(), reconciler._registry.name)
        await reconciler.tick()
        assert (reconciler.rollout.state, reconciler.rollout.fault) == ("served", "resolve")

    async def test_a_change_is_logged_once(
        self, reconciler: Reconciler, registry: Counting, bundle: Write, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "serve.registry.reconciler")
        client(registry).delete_registered_model_alias(registry.name, "champion")
        for _ in range(3):
            await reconciler.tick()
        registry.promote("1")
        for _ in range(3):
            await reconciler.tick()
        assert [record.message for record in caplog.records] == ["keeping the last good version", "serving"]


@pytest.mark.usefixtures("first")
class TestRestart:
    """Version 1 was served by a process that is gone."""

    @pytest.fixture(autouse=True)
    async def _serve_and_end(self, first: RegisteredVersion, reconciler: Reconciler, samplers: Samplers) -> None:
        await reconciler.tick()
        samplers.prepared.clear()

    def restarted(self, registry: Registry, store: JobStore, samplers: Samplers, cache: Path) -> Reconciler:
        return Reconciler(registry, store, samplers.prepare, cache)

    async def test_nothing_is_warm_before_the_first_tick(
        self, registry: Counting, store: JobStore, samplers: Samplers, cache: Path
    ) -> None:
        assert not self.restarted(registry, store, samplers, cache).status.warm

    async def test_a_pointer_that_nobody_holds_is_not_served(
        self, registry: Counting, store: JobStore, samplers: Samplers, cache: Path
    ) -> None:
        samplers.error = RuntimeError("no")
        new = self.restarted(registry, store, samplers, cache)
        await new.tick()
        assert new.rollout == Rollout(registry.name, "failed", "1", "1", "prepare", "RuntimeError: no")

    async def test_with_mlflow_away_the_cached_version_is_prepared_and_served_on(
        self, registry: Counting, store: JobStore, samplers: Samplers, cache: Path
    ) -> None:
        new = self.restarted(Registry(closed_port(), registry.name), store, samplers, cache)
        status = await new.tick()
        assert status.warm
        assert samplers.prepared == ["1"]
        status = await new.tick()
        assert (status.warm, status.fault) == (True, "resolve")
        assert served(store, registry) == "1"

    async def test_a_promotion_meanwhile_is_followed_after_that(
        self, registry: Counting, store: JobStore, samplers: Samplers, cache: Path, bundle: Write
    ) -> None:
        promote_second(registry, bundle)
        new = self.restarted(registry, store, samplers, cache)
        await new.tick()
        assert samplers.prepared == ["1"]
        await new.tick()
        assert samplers.prepared == ["1", "2"]
        assert served(store, registry) == "2"

    async def test_a_version_that_is_lost_everywhere_gives_way_to_the_champion(
        self, registry: Counting, store: JobStore, samplers: Samplers, cache: Path, bundle: Write
    ) -> None:
        promote_second(registry, bundle)
        client(registry).delete_model_version(registry.name, "1")
        shutil.rmtree(cache)
        status = await self.restarted(registry, store, samplers, cache).tick()
        assert (status.warm, status.fault) == (True, None)
        assert served(store, registry) == "2"

    async def test_without_cache_and_mlflow_nothing_is_warm(
        self, registry: Counting, store: JobStore, samplers: Samplers, cache: Path
    ) -> None:
        shutil.rmtree(cache)
        status = await self.restarted(Registry(closed_port(), registry.name), store, samplers, cache).tick()
        assert (status.warm, status.fault) == (False, "resolve")
        assert samplers.prepared == []
        assert served(store, registry) == "1"  # its jobs wait in the queue
