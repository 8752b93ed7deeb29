"""The registry against a real MLflow: what goes in comes out as it was, or is refused."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from controlnet.bundle import Bundle, BundleError
from serve.config import Settings
from serve.registry.registry import (
    STAGING,
    NotRegistered,
    RegisteredVersion,
    Registry,
    RegistryError,
    RegistryUnreachable,
    Resolved,
    VersionRefused,
)
from tests.serve.registry.conftest import artifacts, client, closed_port, flip

Write = Callable[[str], Bundle]


@pytest.fixture
def pushed(registry: Registry, bundle: Write) -> RegisteredVersion:
    version = registry.push(bundle("1").folder)
    registry.promote(version.version)
    return version


def resolve(registry: Registry) -> Resolved:
    resolved = registry.resolve("champion")
    assert resolved is not None
    return resolved


def content(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_pushed_bundle_comes_back_byte_for_byte(
    registry: Registry, bundle: Write, pushed: RegisteredVersion, tmp_path: Path
) -> None:
    folder = registry.fetch(resolve(registry), tmp_path / "cache")
    assert folder == tmp_path / "cache" / pushed.digest.removeprefix("sha256:")
    assert content(folder) == content(tmp_path / "bundle-1")


def test_a_version_is_held_to_its_digest(registry: Registry, pushed: RegisteredVersion, tmp_path: Path) -> None:
    assert pushed.version == "1"
    assert pushed.digest == Bundle.open(tmp_path / "bundle-1").digest
    assert resolve(registry) == Resolved(registry.name, "1", pushed.digest, f"models:/{registry.name}/1")


def test_the_run_has_parameters_and_metrics_and_the_version_its_tags(registry: Registry, bundle: Write) -> None:
    registry.push(bundle("1").folder, params={"epochs": 3}, metrics={"fid": 12.5}, description="First light.")
    version = client(registry).get_model_version(registry.name, "1")
    run = client(registry).get_run(version.run_id)
    assert run.data.params == {"epochs": "3", "training": "none"}
    assert run.data.metrics == {"edge_f1": 0.5, "fid": 12.5}
    assert run.info.status == "FINISHED"
    assert version.description == "First light."
    assert version.tags["licence"] == "Apache-2.0"
    assert version.tags["architecture"] == "UNet 320-640-1280-1280, context 768, 512x512 px"


def test_the_same_digest_is_the_same_version(registry: Registry, pushed: RegisteredVersion, tmp_path: Path) -> None:
    assert registry.push(tmp_path / "bundle-1") == pushed
    assert registry.versions() == [pushed]


def test_a_bundle_that_is_not_what_it_says_is_not_pushed(registry: Registry, bundle: Write) -> None:
    made = bundle("1")
    flip(made.folder / "unet.safetensors")
    with pytest.raises(BundleError, match=r"unet\.safetensors"):
        registry.push(made.folder)
    assert registry.versions() == []


def test_an_empty_registry_begins_with_a_bundle_and_ends_what_was_cut(
    registry: Registry, bundle: Write, tmp_path: Path
) -> None:
    made = bundle("1")
    pushed = registry.push(made.folder)  # and the process ended
    for _ in range(2):
        registry.begin_with(made.folder)
        assert registry.aliases() == {"champion": pushed.version}
    assert registry.versions() == [pushed]


def test_what_is_registered_already_is_left_as_it_is(
    registry: Registry, bundle: Write, pushed: RegisteredVersion
) -> None:
    shipped = bundle("2").folder
    registry.begin_with(shipped)
    assert registry.versions() == [pushed]
    aliases = registry.aliases()
    registry.push(bundle("3").folder)
    registry.begin_with(shipped)
    assert registry.aliases() == aliases


def test_versions_are_listed_newest_first(registry: Registry, bundle: Write, pushed: RegisteredVersion) -> None:
    second = registry.push(bundle("2").folder)
    assert registry.versions() == [second, pushed]


def test_an_alias_moves_and_can_move_back(registry: Registry, bundle: Write, pushed: RegisteredVersion) -> None:
    second = registry.push(bundle("2").folder)
    registry.promote(second.version)
    registry.promote(pushed.version, "challenger")
    assert registry.aliases() == {"champion": "2", "challenger": "1"}
    assert resolve(registry).digest == second.digest
    registry.promote(pushed.version)
    assert resolve(registry).digest == pushed.digest


def test_only_versions_that_exist_are_promoted(registry: Registry, pushed: RegisteredVersion) -> None:
    with pytest.raises(RegistryError, match="has no version 7; there are 1"):
        registry.promote("7")


def test_an_empty_registry_has_nothing_and_says_so(registry: Registry) -> None:
    assert registry.versions() == []
    assert registry.aliases() == {}
    assert registry.resolve("champion") is None
    with pytest.raises(RegistryError, match="there is none"):
        registry.promote("1")


def test_deleting_a_version_unsets_its_alias(registry: Registry, pushed: RegisteredVersion) -> None:
    client(registry).delete_model_version(registry.name, pushed.version)
    assert registry.resolve("champion") is None


def test_a_deleted_version_is_not_fetched(registry: Registry, pushed: RegisteredVersion, tmp_path: Path) -> None:
    resolved = resolve(registry)
    client(registry).delete_model_version(registry.name, pushed.version)
    with pytest.raises(NotRegistered):
        registry.fetch(resolved, tmp_path / "cache")


def test_a_version_without_a_digest_is_refused(registry: Registry, pushed: RegisteredVersion) -> None:
    client(registry).delete_model_version_tag(registry.name, pushed.version, "digest")
    with pytest.raises(VersionRefused, match="no digest"):
        registry.resolve("champion")


def test_a_version_without_a_digest_is_not_promoted(
    registry: Registry, bundle: Write, pushed: RegisteredVersion
) -> None:
    second = registry.push(bundle("2").folder)
    client(registry).delete_model_version_tag(registry.name, second.version, "digest")
    with pytest.raises(VersionRefused, match=r"Version 2 of .* has no digest: push its bundle"):
        registry.promote(second.version)
    assert registry.aliases() == {"champion": "1"}


def test_a_bundle_that_has_no_room_is_told_as_such_before_it_is_fetched(
    registry: Registry, pushed: RegisteredVersion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr("serve.registry.registry.shutil.disk_usage", lambda path: free)
    with pytest.raises(RegistryUnreachable, match=r"No space is left on the disk for models:/.* has .* 0\.0 MB left"):
        registry.fetch(resolve(registry), tmp_path / "cache")


@pytest.mark.parametrize("behind", [False, True])
def test_a_disk_that_fills_meanwhile_is_told_as_such(registry: Registry, behind: bool) -> None:
    """MLflow says that what it could not write does not exist."""
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST

    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    text = "Failed to download artifacts from path 'bundle'" + ("" if behind else f"\n{full}")
    with pytest.raises(RegistryUnreachable, match=r"^No space is left on the disk: Failed"), registry._mlflow():
        raise MlflowException(text, RESOURCE_DOES_NOT_EXIST) from (full if behind else None)


def test_a_digest_never_names_another_folder(registry: Registry, pushed: RegisteredVersion, tmp_path: Path) -> None:
    with pytest.raises(VersionRefused, match="which is none"):
        registry.fetch(replace(resolve(registry), digest="sha256:../../etc"), tmp_path / "cache")


@pytest.mark.usefixtures("pushed")
class TestSpoiledArtifacts:
    """Someone or something changed what MLflow stores."""

    def refused(self, registry: Registry, tmp_path: Path, match: str) -> None:
        cache = tmp_path / "cache"
        with pytest.raises(VersionRefused, match=match):
            registry.fetch(resolve(registry), cache)
        assert list(cache.iterdir()) == []  # neither the version nor a temporary folder

    def test_a_flipped_bit(self, registry: Registry, tmp_path: Path) -> None:
        flip(artifacts(registry, "1") / "vae.safetensors")
        self.refused(registry, tmp_path, r"vae\.safetensors in bundle models:/model-\d+/1 has SHA-256")

    def test_a_missing_file(self, registry: Registry, tmp_path: Path) -> None:
        (artifacts(registry, "1") / "controls" / "canny.safetensors").unlink()
        self.refused(registry, tmp_path, r"lacks controls/canny\.safetensors")

    def test_a_pickle_beside_the_weights(self, registry: Registry, tmp_path: Path) -> None:
        (artifacts(registry, "1") / "model.pkl").write_bytes(b"\x80\x04.")
        self.refused(registry, tmp_path, r"holds bundle/model\.pkl, which no bundle does")

    def test_a_file_that_the_manifest_does_not_list(self, registry: Registry, tmp_path: Path) -> None:
        (artifacts(registry, "1") / "controls" / "more.safetensors").write_bytes(b"")
        self.refused(registry, tmp_path, r"doesn't list: controls/more\.safetensors")

    def test_no_files_at_all(self, registry: Registry, tmp_path: Path) -> None:
        artifacts(registry, "1").rename(tmp_path / "moved")
        self.refused(registry, tmp_path, "holds no files")

    def test_another_bundle_under_the_same_version(self, registry: Registry, bundle: Write, tmp_path: Path) -> None:
        stored = artifacts(registry, "1")
        stored.rename(tmp_path / "moved")
        bundle("2").folder.rename(stored)
        self.refused(registry, tmp_path, "has the digest sha256:")

    def test_a_digest_tag_of_something_else(self, registry: Registry, tmp_path: Path) -> None:
        client(registry).set_model_version_tag(registry.name, "1", "digest", "sha256:" + 64 * "0")
        self.refused(registry, tmp_path, f"not sha256:{64 * '0'}")


def test_what_is_cached_needs_no_mlflow(registry: Registry, pushed: RegisteredVersion, tmp_path: Path) -> None:
    resolved = resolve(registry)
    folder = registry.fetch(resolved, tmp_path / "cache")
    away = Registry("http://127.0.0.1:9", registry.name)
    assert away.fetch(resolved, tmp_path / "cache") == folder


def test_a_cached_folder_that_was_cut_short_is_replaced(
    registry: Registry, pushed: RegisteredVersion, tmp_path: Path
) -> None:
    folder = registry.fetch(resolve(registry), tmp_path / "cache")
    (folder / "unet.safetensors").write_bytes(b"")
    assert registry.fetch(resolve(registry), tmp_path / "cache") == folder
    assert content(folder) == content(tmp_path / "bundle-1")
    assert [entry.name for entry in (tmp_path / "cache").iterdir()] == [folder.name]


def test_a_cache_keeps_what_is_in_use_and_what_was_used_last(registry: Registry, bundle: Write, tmp_path: Path) -> None:
    cache, folders = tmp_path / "cache", []
    for i in range(5):
        pushed = registry.push(bundle(str(i)).folder)
        registry.promote(pushed.version)
        folders.append(registry.fetch(resolve(registry), cache, keep=[f"sha256:{folders[0].name}"] if folders else []))
        os.utime(folders[-1], (i, i))
    assert {entry.name for entry in cache.iterdir()} == {folders[i].name for i in (0, 3, 4)}


def test_what_a_killed_process_was_fetching_is_deleted_in_time(
    registry: Registry, pushed: RegisteredVersion, tmp_path: Path
) -> None:
    left, fresh = tmp_path / "cache" / f"{STAGING}left", tmp_path / "cache" / f"{STAGING}fresh"
    left.mkdir(parents=True)
    fresh.mkdir()
    os.utime(left, (0, 0))
    registry.fetch(resolve(registry), tmp_path / "cache")
    assert (left.exists(), fresh.exists()) == (False, True)


def test_a_closed_port_is_told_soon_and_without_the_password(tmp_path: Path, mlflow_folder: Path) -> None:
    port = closed_port().rpartition(":")[2]
    with pytest.raises(RegistryUnreachable) as caught:
        Registry(f"http://team:secret@127.0.0.1:{port}", "demo").versions()
    assert f"127.0.0.1:{port}" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["data", "a%20b?#1"])
def test_a_file_that_is_no_database_is_told_at_once(tmp_path: Path, name: str) -> None:
    settings = Settings(data_dir=tmp_path / name, _env_file=None)
    settings.data_dir.mkdir()
    (settings.data_dir / "mlflow.db").write_bytes(b"not a database" * 100)
    with pytest.raises(RegistryUnreachable, match="file is not a database"):
        Registry.from_settings(settings).versions()


def test_the_global_tracking_uri_stays_as_it_was(registry: Registry, bundle: Write, tmp_path: Path) -> None:
    import mlflow

    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    registry.push(bundle("1").folder)
    registry.promote("1")
    registry.fetch(resolve(registry), tmp_path / "cache")
    assert (mlflow.get_tracking_uri(), mlflow.get_registry_uri()) == before
