from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from serve.errors import NotFound
from serve.jobs.artifacts import ArtifactStore

DIGEST = hashlib.sha256(b"pixels").hexdigest()
KEY = f"demo/{DIGEST[:2]}/{DIGEST}.png"


@pytest.fixture(params=["folder", "memory"])
def artifacts(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    return ArtifactStore.open({"folder": (tmp_path / "a" / "b").as_uri(), "memory": "memory:///"}[request.param])


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


async def test_storing_again_mends_what_a_power_cut_left_short(tmp_path):
    artifacts = ArtifactStore.open(tmp_path.as_uri())
    await artifacts.put("demo", b"pixels", ".png")
    (tmp_path / KEY).write_bytes(b"")
    await artifacts.put("demo", b"pixels", ".png")
    assert await artifacts.get(KEY, "demo") == b"pixels"
