"""Renderings: deterministic, consistent with their maps, legible."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from controlnet.parts.render import PALETTE, Rendering, render
from controlnet.parts.scene import BENCHES, KINDS, MATERIALS, Part, Scene, sample_scene

DRAWN, SIDE = Path(__file__).with_name("drawn.png"), 96


def portrait(kind: str = "gear", material: str = "steel", bench: str = "dark") -> Scene:
    """One sound part in the middle of the frame."""
    part = Part(kind, material, "none", 0.5, 0.5, 0.36, 0.4, 0, 7)
    return dataclasses.replace(sample_scene(3), parts=(part,), bench=bench, close_up=False)


def row(kind: str) -> Scene:
    """Three parts of a kind: sound, scratched and rusty, each of another variant and material."""
    numbers = zip(("none", "scratch", "rust"), ("steel", "brass", "copper"), (0.2, 0.5, 0.8), strict=True)
    parts = tuple(Part(kind, metal, flaw, x, 0.5, 0.14, x, i, i) for i, (flaw, metal, x) in enumerate(numbers))
    return dataclasses.replace(sample_scene(3), parts=parts, bench="dark", close_up=False)


@pytest.fixture(scope="module")
def renderings() -> list[tuple[Scene, Rendering]]:
    scenes = [sample_scene(seed) for seed in range(24)]
    return [(scene, render(scene)) for scene in scenes]


def test_the_same_scene_gives_the_same_bytes() -> None:
    first, second = render(sample_scene(5)), render(sample_scene(5))
    for field in dataclasses.fields(Rendering):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name))


@pytest.mark.parametrize("size", [64, 128, 192])
def test_every_map_has_the_size_asked(size: int) -> None:
    result = render(portrait(), size)
    assert result.image.shape == result.segmentation.shape == (size, size, 3)
    assert result.depth.shape == result.mask.shape == result.materials.shape == (size, size)
    assert result.image.dtype == result.depth.dtype == result.materials.dtype == np.uint8


def test_maps_agree_on_where_the_parts_are(renderings: list[tuple[Scene, Rendering]]) -> None:
    for _, result in renderings:
        bench = (result.segmentation == PALETTE["bench"]).all(axis=2)
        np.testing.assert_array_equal(bench, ~result.mask)
        np.testing.assert_array_equal(result.materials > 0, result.mask)


def test_segmentation_holds_only_colours_of_its_scene(
    renderings: list[tuple[Scene, Rendering]],
) -> None:
    for scene, result in renderings:
        allowed = {PALETTE["bench"], PALETTE["rust"]} | {PALETTE[p.kind] for p in scene.parts}
        found = {tuple(map(int, c)) for c in np.unique(result.segmentation.reshape(-1, 3), axis=0)}
        assert found <= allowed


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_is_visible_and_nearer_than_the_bench(kind: str) -> None:
    result = render(portrait(kind))
    inside = cv2.erode(result.mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    outside = cv2.dilate(result.mask.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0
    assert 0.05 < result.mask.mean() < 0.6
    assert np.median(result.depth[inside]) > result.depth[outside].max()


def test_only_rusty_parts_show_rust() -> None:
    sound = portrait()
    rusty = dataclasses.replace(sound, parts=(dataclasses.replace(sound.parts[0], defect="rust"),))
    shares = [(render(scene).segmentation == PALETTE["rust"]).all(axis=2).sum() for scene in (sound, rusty)]
    assert shares[0] == 0
    assert shares[1] > 100


def test_a_scratch_changes_the_picture_but_no_map() -> None:
    sound = portrait("disc")
    part = dataclasses.replace(sound.parts[0], defect="scratch")
    before, after = render(sound), render(dataclasses.replace(sound, parts=(part,)))
    assert (np.abs(before.image.astype(int) - after.image) > 20).any(axis=2).sum() > 30
    np.testing.assert_array_equal(before.segmentation, after.segmentation)


def mean_hsv(material: str, bench: str) -> tuple[float, float, float]:
    """Hue in degrees, saturation and value of the mean colour of a disc."""
    result = render(portrait("disc", material, bench))
    colour = result.image[result.mask].mean(axis=0, keepdims=True)[None].astype(np.float32) / 255
    hue, saturation, value = cv2.cvtColor(colour, cv2.COLOR_RGB2HSV)[0, 0]
    return float(hue), float(saturation), float(value)


@pytest.mark.parametrize("bench", BENCHES)
def test_materials_differ_clearly_in_colour(bench: str) -> None:
    steel, brass, copper, black = (mean_hsv(material, bench) for material in MATERIALS)
    assert 36 < brass[0] < 56
    assert 5 < copper[0] < 26
    assert brass[0] - copper[0] > 20
    assert min(brass[1], copper[1]) > 0.4 > 0.2 > steel[1]
    assert steel[2] > 0.55 > 0.4 > black[2]


@pytest.mark.parametrize("kind", KINDS)
def test_black_on_dark_keeps_its_contour(kind: str) -> None:
    result = render(portrait(kind, "black", "dark"))
    edges = np.asarray(cv2.Canny(result.image, 60, 140))
    near_edge = cv2.dilate(edges, np.ones((5, 5), np.uint8)) > 0
    outline = cv2.morphologyEx(result.mask.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((2, 2), np.uint8))
    assert near_edge[outline > 0].mean() > 0.6


def test_the_empty_bench_has_no_edges() -> None:
    for bench in BENCHES:
        empty = dataclasses.replace(portrait(bench=bench), parts=())
        assert not cv2.Canny(render(empty).image, 60, 140).any()


@pytest.mark.parametrize("index", range(len(KINDS)), ids=KINDS)
def test_parts_look_as_those_that_the_shipped_model_learned(index: int) -> None:
    """The picture was rendered when 0.1 shipped: `python -m tests.controlnet.parts.test_render` writes it."""
    drawn = cv2.imread(str(DRAWN))[..., ::-1][index * SIDE : (index + 1) * SIDE].astype(int)
    difference = np.abs(render(row(KINDS[index]), SIDE).image.astype(int) - drawn)
    assert difference.mean() < 0.05  # levels of 255: another machine rounds otherwise
    assert difference.max() <= 16


if __name__ == "__main__":
    cv2.imwrite(str(DRAWN), np.concatenate([render(row(kind), SIDE).image for kind in KINDS])[..., ::-1])
