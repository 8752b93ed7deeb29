"""Pictures become maps of the size that is sampled."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from controlnet.annotators import ANNOTATORS, make_map, resize
from tests.pictures import RAMP, Pixels

LABELS = np.array([[220, 20, 60], [0, 0, 142], [70, 130, 180], [107, 142, 35]], np.uint8)


def colours(picture: Pixels) -> set[tuple[int, ...]]:
    return set(map(tuple, picture.reshape(-1, 3).tolist()))


def drawing(side: int, degrees: float) -> Pixels:
    """A white line one pixel wide through the middle."""
    canvas = np.zeros((side, side, 3), np.uint8)
    reach = np.array([np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))]) * side * 0.4
    ends = [tuple(int(v) for v in side / 2 + sign * reach) for sign in (-1, 1)]
    return np.asarray(cv2.line(canvas, ends[0], ends[1], (255, 255, 255), 1), np.uint8)


@pytest.mark.parametrize("annotator", ["canny", "invert", "threshold"])
@pytest.mark.parametrize("size", [(8, 8), (64, 48)])
def test_a_picture_is_resized_then_annotated(annotator: str, size: tuple[int, int]) -> None:
    width, height = size
    made = make_map(RAMP, annotator, {}, width, height)
    assert made.shape == (height, width, 3)
    assert np.array_equal(made, ANNOTATORS[annotator](resize(RAMP, height, width)))


def test_parameters_reach_the_annotator() -> None:
    loose = make_map(RAMP, "canny", {"low_threshold": 1, "high_threshold": 2}, 64, 64)
    strict = make_map(RAMP, "canny", {"low_threshold": 254, "high_threshold": 255}, 64, 64)
    assert loose.sum() > strict.sum()


def test_an_unknown_annotator_is_named() -> None:
    with pytest.raises(ValueError, match="'cany' is unknown"):
        make_map(RAMP, "cany", {}, 8, 8)


def test_a_map_of_the_right_size_is_taken_as_it_is() -> None:
    made = make_map(RAMP, "none", {}, 16, 12)
    assert np.array_equal(made, RAMP)
    assert not np.shares_memory(made, RAMP)


@pytest.mark.parametrize("side", [32, 51, 150])
@pytest.mark.parametrize("degrees", [0, 17, 45, 73, 120])
@pytest.mark.parametrize("inverted", [False, True])
def test_a_thin_line_shrinks_to_a_thin_line_in_one_piece(side: int, degrees: float, inverted: bool) -> None:
    line = drawing(256, degrees)
    made = make_map(255 - line if inverted else line, "none", {}, side, side)
    made = 255 - made if inverted else made
    assert colours(made) == {(0, 0, 0), (255, 255, 255)}
    pieces, _ = cv2.connectedComponents(made[:, :, 0], connectivity=8)
    assert pieces == 2  # the ground and the line
    assert made[:, :, 0].astype(bool).sum() < 3.2 * side * 0.8


def test_a_shrunk_edge_map_says_as_much_as_one_of_that_size() -> None:
    rng = np.random.default_rng(0)
    scene = cv2.GaussianBlur(rng.integers(0, 256, (24, 24, 3), np.uint8), (0, 0), 1)
    scene = np.asarray(cv2.resize(scene, (512, 512), interpolation=cv2.INTER_NEAREST), np.uint8)
    ready = make_map(make_map(scene, "canny", {}, 512, 512), "none", {}, 128, 128)
    annotated = make_map(scene, "canny", {}, 128, 128)
    near = cv2.dilate(annotated, np.ones((3, 3), np.uint8)) > 0
    assert near[ready > 0].mean() > 0.8
    assert 0.5 < ready.mean() / annotated.mean() < 2


def test_a_line_across_a_picture_squeezed_one_way_only_stays() -> None:
    canvas = np.zeros((64, 256, 3), np.uint8)
    canvas[:, 101] = 255
    made = make_map(canvas, "none", {}, 64, 64)
    assert (made[:, :, 0].max(axis=1) == 255).all()


def test_a_map_of_one_colour_stays_so() -> None:
    assert colours(make_map(np.full((64, 64, 3), 9, np.uint8), "none", {}, 32, 32)) == {(9, 9, 9)}


@pytest.mark.parametrize("size", [(24, 24), (100, 60), (300, 400)])
def test_labels_stay_labels(size: tuple[int, int]) -> None:
    picture = LABELS[np.random.default_rng(0).integers(0, 4, (96, 128))]
    assert colours(make_map(picture, "none", {}, *size)) == colours(picture)


def test_two_tones_that_grow_stay_two() -> None:
    assert colours(make_map(drawing(32, 30), "none", {}, 100, 100)) == {(0, 0, 0), (255, 255, 255)}


def test_depth_shrinks_by_areas() -> None:
    depth = np.repeat(np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 64, axis=0), 3, axis=2)
    made = make_map(depth, "none", {}, 64, 16)
    assert np.array_equal(made[0, :, 0], np.arange(64) * 4 + 2)  # the mean of four, 1.5, rounded to even


def test_depth_grows_without_ringing() -> None:
    step = np.full((8, 8, 3), 60, np.uint8)
    step[:, 4:] = 200
    step[:, 6:] = 180
    made = make_map(step, "none", {}, 64, 64)
    assert (made.min(), made.max()) == (60, 200)
    assert len(colours(made)) > 4  # smooth, not steps


def test_normals_are_smooth_however_many_there_are() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (128, 128, 3), np.uint8)
    assert np.array_equal(
        make_map(noise, "none", {}, 32, 32), cv2.resize(noise, (32, 32), interpolation=cv2.INTER_AREA)
    )


def test_colours_in_rows_that_were_not_sampled_count() -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[1:] = np.random.default_rng(0).integers(0, 256, (63, 64, 3), np.uint8)
    picture[::16] = 0  # the sampled rows alone would call this a map of one label
    assert len(colours(make_map(picture, "none", {}, 32, 32))) > 256


def discs(side: int) -> Pixels:
    """Two outlines, as a drawing program makes them."""
    canvas = np.zeros((side, side, 3), np.uint8)
    for middle in (side // 3, 2 * side // 3):
        cv2.circle(canvas, (middle, middle), side // 6, (255, 255, 255), 1)
    return canvas


def with_a_stray_pixel(drawn: Pixels) -> Pixels:
    drawn[0, 0] = 254
    return drawn


def as_jpeg(drawn: Pixels) -> Pixels:
    _, data = cv2.imencode(".jpg", drawn, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def smooth(drawn: Pixels) -> Pixels:
    return np.asarray(cv2.GaussianBlur(drawn, (3, 3), 0.4), np.uint8)


@pytest.mark.parametrize("spoil", [with_a_stray_pixel, as_jpeg, smooth])
@pytest.mark.parametrize("inverted", [False, True])
def test_what_is_nearly_two_tones_is_resized_as_two(spoil: Callable[[Pixels], Pixels], inverted: bool) -> None:
    exact, nearly = discs(256), spoil(discs(256))
    if inverted:
        exact, nearly = 255 - exact, 255 - nearly
    wanted, made = (make_map(each, "none", {}, 64, 64) for each in (exact, nearly))
    assert len(colours(made)) == 2
    assert np.mean(np.abs(made.astype(int) - wanted) > 127) < 0.03


def test_soft_edges_and_depth_are_not_two_tones() -> None:
    soft = cv2.GaussianBlur(discs(256), (0, 0), 4)
    soft = (soft * (255.0 / soft.max())).astype(np.uint8)
    depth = np.repeat(np.tile(np.linspace(0, 255, 256), (256, 1))[:, :, None], 3, axis=2).astype(np.uint8)
    for smooth_map in (soft, depth):
        assert len(colours(make_map(smooth_map, "none", {}, 64, 64))) > 16
