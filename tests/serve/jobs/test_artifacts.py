from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import obstore
import pytest
from obstore.exceptions import GenericError

from ops.services import Azurite, Missing
from serve.errors import NotFound
from serve.jobs.artifacts import ArtifactStore
from serve.jobs.database import StoreUnavailable

DIGEST = hashlib.sha256(b"pixels").hexdigest()
KEY = f"demo/{DIGEST[:2]}/{DIGEST}.png"


@pytest.fixture(params=["folder", "memory", pytest.param("azure", marks=pytest.mark.azurite)])
def artifacts(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    if request.param == "azure":
        azurite: Azurite = request.getfixturevalue("azurite")
        container = f"c{uuid.uuid4().hex}"
        azurite.make_container(container)
        return ArtifactStore.open(f"az://{container}", azurite.options)
    return ArtifactStore.open({"folder": (tmp_path / "a" / "b").as_uri(), "memory": "memory:///"}[request.param])


async def listed(artifacts: ArtifactStore, tenant: str | None = None) -> dict[str, int]:
    return {artifact.key: artifact.size async for found in artifacts.list(tenant) for artifact in found}


async def test_bytes_read_back_under_their_digest(artifacts):
    key = await artifacts.put("demo", b"pixels", ".png")
    assert key == KEY
    assert await artifacts.get(key, "demo") == b"pixels"


async def test_equal_bytes_are_stored_once(tmp_path):
    artifacts = ArtifactStore.open(tmp_path.as_uri())
    await artifacts.put("demo", b"pixels", ".png")
    before = (tmp_path / KEY).stat()
    assert await artifacts.put("demo", b"pixels", ".png") == KEY
    after = (tmp_path / KEY).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / KEY]


async def test_tenants_share_nothing(artifacts):
    await artifacts.put("blue", b"pixels", ".png")
    key = await artifacts.put("red", b"pixels", ".png")
    with pytest.raises(NotFound):
        await artifacts.get(key, "blue")
    assert not await artifacts.exists(key, "blue")
    assert await artifacts.exists(key, "red")


async def test_what_was_never_stored_is_not_found(artifacts):
    assert not await artifacts.exists(KEY, "demo")
    with pytest.raises(NotFound):
        await artifacts.get(KEY, "demo")


@pytest.mark.parametrize(
    "key",
    [
        "",
        "demo/",
        f"/{KEY}",
        f"{KEY}\n",
        f"{KEY}/",
        KEY.upper(),
        KEY.removesuffix(".png"),
        KEY.replace("demo/", "demo//"),
        KEY.replace(".png", ".p/g"),
        KEY.replace(".png", ".png\0"),
        f"demo/../{KEY}",
        f"demo/../red/{KEY[5:]}",
        f"demo/00/{DIGEST}.png",
        f"demo%2f..%2f{KEY}",
        "demo/../../etc/passwd",
        "file:///etc/passwd",
    ],
)
async def test_what_is_not_a_key_is_not_found(artifacts, key):
    await artifacts.put("demo", b"pixels", ".png")
    await artifacts.put("red", b"pixels", ".png")
    with pytest.raises(NotFound):
        await artifacts.get(key, "demo")
    assert not await artifacts.exists(key, "demo")


@pytest.mark.parametrize("tenant", ["", "Demo", "-demo", "a" * 64, "de/mo", "..", "demo\n", "démo"])
async def test_a_tenant_that_cannot_be_in_a_key_is_refused(artifacts, tenant):
    with pytest.raises(ValueError, match="tenant"):
        await artifacts.put(tenant, b"pixels", ".png")


@pytest.mark.parametrize("suffix", ["", "png", ".", "./x", ".PNG", ".png\n", ".tar.gz"])
async def test_a_suffix_that_cannot_be_in_a_key_is_refused(artifacts, suffix):
    with pytest.raises(ValueError, match="suffix"):
        await artifacts.put("demo", b"pixels", suffix)


async def test_a_damaged_artifact_is_not_handed_out(tmp_path):
    artifacts = ArtifactStore.open(tmp_path.as_uri())
    await artifacts.put("demo", b"pixels", ".png")
    (tmp_path / KEY).write_bytes(b"pixelz")
    with pytest.raises(NotFound, match="damaged"):
        await artifacts.get(KEY, "demo")


@pytest.mark.parametrize("found", [b"", b"pixelz"], ids=["short", "as long"])
async def test_storing_again_mends_what_is_damaged(artifacts, found):
    await obstore.put_async(artifacts._backend, KEY, found)
    await artifacts.put("demo", b"pixels", ".png")
    assert await artifacts.get(KEY, "demo") == b"pixels"


async def test_a_tenants_artifacts_are_listed(artifacts):
    ours = {await artifacts.put("blue", data, ".png"): len(data) for data in (b"a", b"bb")}
    theirs = {await artifacts.put("blue-1", b"ccc", ".png"): 3}
    assert await listed(artifacts, "blue") == ours
    assert await listed(artifacts) == ours | theirs


async def test_the_list_says_when_they_were_stored(artifacts):
    await artifacts.put("demo", b"pixels", ".png")
    async for (artifact,) in artifacts.list():
        assert abs(artifact.modified - time.time()) < 60


async def test_what_else_lies_there_is_not_listed(tmp_path):
    artifacts = ArtifactStore.open(tmp_path.as_uri())
    await artifacts.put("demo", b"pixels", ".png")
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "demo" / "notes.txt").write_text("mine")
    assert list(await listed(artifacts)) == [KEY]


async def test_what_was_deleted_is_not_found_and_can_be_stored_again(artifacts):
    key, other = await artifacts.put("demo", b"pixels", ".png"), await artifacts.put("demo", b"other", ".png")
    assert await artifacts.delete(lambda: [key]) == {key: None}
    assert await listed(artifacts) == {other: 5}
    with pytest.raises(NotFound):
        await artifacts.get(key, "demo")
    await artifacts.put("demo", b"pixels", ".png")
    assert await artifacts.get(key, "demo") == b"pixels"


async def test_deleting_what_is_not_there_is_fine(artifacts):
    assert await artifacts.delete(lambda: [KEY]) == {KEY: None}


@pytest.mark.azurite
async def test_a_blob_that_somebody_has_leased_keeps_no_other_from_being_deleted(azurite):
    azurite.make_container("leased")
    artifacts = ArtifactStore.open("az://leased", azurite.options)
    keys = [await artifacts.put("demo", data, ".png") for data in (b"a", b"b", b"c")]
    azurite.lease("leased", keys[1])
    ends = await artifacts.delete(lambda: keys)
    assert [ends[key] is None for key in keys] == [True, False, True]
    assert list(await listed(artifacts)) == [keys[1]]


async def test_what_a_cut_off_write_left_is_deleted_when_it_is_old(tmp_path):
    """obstore's writes of before leave such files, too."""
    artifacts = ArtifactStore.open(tmp_path.as_uri())
    await artifacts.put("demo", b"pixels", ".png")
    for end in ("#1", "#9", "#c0ffee"):
        (tmp_path / f"{KEY}{end}").touch()
    (tmp_path / "demo" / "notes#1").touch()
    assert await artifacts.clean(1.5e9) == 0
    for end in ("#1", "#c0ffee"):
        os.utime(tmp_path / f"{KEY}{end}", (1.4e9, 1.4e9))
    assert await artifacts.clean(1.5e9) == 2
    assert await artifacts.get(KEY, "demo") == b"pixels"
    assert sorted(path.name for path in tmp_path.rglob("*#*")) == [f"{DIGEST}.png#9", "notes#1"]


async def test_only_artifacts_are_deleted(tmp_path):
    artifacts = ArtifactStore.open((tmp_path / "store").as_uri())
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "store" / "notes.txt").write_text("mine")
    await artifacts.delete(lambda: ["notes.txt", "../notes.txt", str(tmp_path / "notes.txt")])
    assert [path.name for path in tmp_path.rglob("*.txt")] == ["notes.txt", "notes.txt"]


@pytest.mark.parametrize("url", ["s3://bucket", "https://example.test/x", "data/artifacts"])
def test_another_kind_of_store_is_refused(url):
    with pytest.raises(ValueError, match="choose file"):
        ArtifactStore.open(url)


# Stores that fail


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 kB."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a tiny disk can only be mounted by root")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


async def test_a_full_disk_is_told_and_nothing_half_written_stands_for_the_bytes(tiny_disk):
    artifacts = ArtifactStore.open(tiny_disk.as_uri())
    small = await artifacts.put("demo", b"small", ".png")
    with pytest.raises(StoreUnavailable) as refused:
        await artifacts.put("demo", b"x" * 100_000, ".png")
    assert os.strerror(errno.ENOSPC) in str(refused.value.__cause__)
    assert await listed(artifacts) == {small: 5}
    assert await artifacts.get(small, "demo") == b"small"


async def test_a_disk_has_room_again_after_what_filled_it_was_deleted(tiny_disk):
    artifacts = ArtifactStore.open(tiny_disk.as_uri())
    large = await artifacts.put("demo", b"x" * 40_000, ".png")
    with pytest.raises(StoreUnavailable):
        await artifacts.put("demo", b"y" * 40_000, ".png")
    await artifacts.delete(lambda: [large])
    assert await artifacts.get(await artifacts.put("demo", b"y" * 40_000, ".png"), "demo") == b"y" * 40_000


@pytest.fixture
def own_azurite() -> Azurite:
    """To be stopped."""
    try:
        return Azurite()
    except Missing as missing:
        pytest.skip(str(missing))


@pytest.mark.azurite
async def test_a_blob_service_that_is_away_is_told_and_found_again(own_azurite):
    with own_azurite as azurite:
        azurite.make_container("mine")
        artifacts = ArtifactStore.open("az://mine", azurite.options)
        await artifacts.put("demo", b"pixels", ".png")
        azurite.stop()
        for call in (artifacts.put("demo", b"more", ".png"), artifacts.get(KEY, "demo")):
            with pytest.raises(StoreUnavailable):
                await call
        assert isinstance((await artifacts.delete(lambda: [KEY]))[KEY], GenericError)
        azurite.start()
        azurite.make_container("mine")
        await artifacts.put("demo", b"pixels", ".png")
        assert await artifacts.get(KEY, "demo") == b"pixels"


@pytest.mark.azurite
async def test_a_blob_service_that_does_not_know_the_key_is_told(azurite):
    azurite.make_container("theirs")
    artifacts = ArtifactStore.open("az://theirs", azurite.options | {"account_key": "AAAA"})
    with pytest.raises(StoreUnavailable):
        await artifacts.put("demo", b"pixels", ".png")
