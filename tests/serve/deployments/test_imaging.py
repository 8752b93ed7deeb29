"""What imaging makes of a job's pictures."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from serve.config import Settings
from serve.deployments.imaging import Imaging
from serve.deployments.messages import Maps, Steered
from serve.errors import ServeError
from serve.jobs.artifacts import ArtifactStore
from serve.jobs.spec import ControlSpec, JobSpec
from tests.pictures import linear_grey_profile, saved


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path)


@pytest.fixture
def artifacts(settings: Settings) -> ArtifactStore:
    return ArtifactStore.open(settings.artifacts_url)


@pytest.fixture
async def imaging(settings: Settings) -> AsyncIterator[Imaging]:
    imaging = Imaging(settings)
    yield imaging
    imaging._decoder.close()


def squares() -> bytes:
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[16:48, 16:48] = 255
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def spec_of(key: str, seeds: tuple[int, ...]) -> JobSpec:
    control = ControlSpec("canny", "canny", (key,), {"low_threshold": 60.0, "high_threshold": 140.0})
    return JobSpec("", "", seeds, 0, 1.0, width=96, height=64, controls=(control,))


async def test_a_map_is_stored_at_the_size_of_the_job(imaging: Imaging, artifacts: ArtifactStore) -> None:
    spec = spec_of(await artifacts.put("acme", squares(), ".png"), ())
    maps = await imaging.annotate("acme", spec)
    (stored,) = (await imaging.store_maps("acme", spec, maps)).maps
    made = np.asarray(Image.open(io.BytesIO(await artifacts.get(stored.key, "acme"))))
    assert made.shape == (64, 96, 3)
    assert set(np.unique(made)) == {0, 255}
    assert np.array_equal(maps.pixels[0][0], made)


@pytest.mark.parametrize(("seeds", "field"), [((), "image"), ((1,), "controls.0.image")])
async def test_a_damaged_picture_is_named_as_it_was_sent(
    imaging: Imaging, artifacts: ArtifactStore, seeds: tuple[int, ...], field: str
) -> None:
    key = await artifacts.put("acme", squares()[:-30], ".png")
    with pytest.raises(ServeError) as caught:
        await imaging.annotate("acme", spec_of(key, seeds))
    assert caught.value.field == field


async def test_a_map_comes_with_its_warnings(imaging: Imaging, artifacts: ArtifactStore) -> None:
    flat = io.BytesIO()
    Image.new("L", (64, 64)).save(flat, "PNG")
    keys = [await artifacts.put("acme", data, ".png") for data in (squares(), flat.getvalue())]
    ready = ControlSpec("canny", "none", tuple(keys), {})
    maps = await imaging.annotate("acme", replace(spec_of(keys[0], (1, 2)), controls=(ready,), width=32, height=32))
    found = [(warning.code, warning.field) for warning in maps.warnings]
    fields = [f"controls.0.map.{i}" for i in range(2)]
    assert found == [("map-shrunk", fields[0]), ("map-shrunk", fields[1]), ("map-one-tone", fields[1])]
    assert (await imaging.store_maps("acme", spec_of(keys[0], ()), maps)).warnings == maps.warnings


async def test_a_maps_levels_are_taken_as_they_are_stored(imaging: Imaging, artifacts: ArtifactStore) -> None:
    """A depth map that an editor saved with a profile of linear light: 128 is a distance, not a colour."""
    data = saved(Image.new("L", (64, 64), 128), icc_profile=linear_grey_profile())
    key = await artifacts.put("acme", data, ".png")
    ready = ControlSpec("depth", "none", (key,), {})
    maps = await imaging.annotate("acme", replace(spec_of(key, (1,)), controls=(ready,)))
    assert np.unique(maps.pixels[0][0]).tolist() == [128]


async def test_a_picture_is_compared_with_its_map(imaging: Imaging, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[float, str]] = []
    monkeypatch.setattr(imaging._metrics, "adherence", lambda f1, version: told.append((f1, version)))
    pixels = np.asarray(Image.open(io.BytesIO(squares())).convert("RGB"))
    edges = np.repeat(np.asarray(cv2.Canny(pixels, 60, 140))[..., None], 3, axis=2)
    await imaging.publish("acme", pixels, 7, {}, Steered(0, 1, 60, 140, "3"), Maps([[edges]], 0.1))
    assert told == [(1.0, "3")]


async def test_a_comparison_that_fails_costs_no_picture(imaging: Imaging) -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    steered = Steered(0, 0, 60, 140, "3")
    assert (await imaging.publish("acme", pixels, 7, {}, steered, Maps([], 0.1))).seed == 7


async def test_a_trial_goes_through_decoder_annotator_and_encoder(imaging: Imaging) -> None:
    await imaging.probe()


async def test_a_trial_fails_with_the_decoder(imaging: Imaging, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError("it ended")

    monkeypatch.setattr(imaging._decoder, "decode", broken)
    with pytest.raises(OSError, match="it ended"):
        await imaging.probe()
