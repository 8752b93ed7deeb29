"""Channels and sizes, by the original's rules."""

import cv2
import numpy as np
import pytest

from controlnet.annotators import fit, resize, to_rgb

GREY = np.arange(256, dtype=np.uint8).reshape(16, 16)


@pytest.mark.parametrize("planes", [GREY, GREY[:, :, None]])
def test_grey_becomes_three_equal_channels(planes: np.ndarray) -> None:
    np.testing.assert_array_equal(to_rgb(planes), np.stack([GREY] * 3, axis=2))


def test_rgb_stays() -> None:
    rgb = np.stack([GREY, GREY[::-1], GREY.T], axis=2)
    np.testing.assert_array_equal(to_rgb(rgb), rgb)


@pytest.mark.parametrize(
    ("rgba", "rgb"),
    [
        ((10, 20, 30, 255), (10, 20, 30)),
        ((10, 20, 30, 0), (255, 255, 255)),
        ((0, 100, 200, 128), (126, 177, 227)),  # 126.99998, 177.2, 227.39 cut off
    ],
)
def test_rgba_is_laid_over_white(rgba: tuple[int, ...], rgb: tuple[int, ...]) -> None:
    assert to_rgb(np.array([[rgba]], np.uint8)).tolist() == [[list(rgb)]]


@pytest.mark.parametrize("shape", [(4,), (4, 4, 2), (4, 4, 5), (4, 4, 0), (1, 4, 4, 3)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="1, 3 or 4 channels"):
        to_rgb(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.int8, np.bool_])
def test_other_types_are_refused(dtype: type) -> None:
    with pytest.raises(ValueError, match="give uint8"):
        to_rgb(np.zeros((4, 4), dtype))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((512, 512), (512, 512)),
        ((600, 800), (512, 704)),
        ((480, 640), (512, 704)),
        ((1080, 1920), (512, 896)),
        ((720, 1280), (512, 896)),
        ((333, 500), (512, 768)),
        ((1024, 768), (704, 512)),
    ],
)
def test_fit_gives_the_sizes_of_the_original(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert fit(*size, 512) == expected


def test_fit_without_caps_is_the_original_on_a_strip() -> None:
    assert fit(100, 1000, 512, max_pixels=1 << 22, max_aspect=10) == (512, 5120)


def test_halves_go_to_the_even_multiple() -> None:
    assert fit(64, 64, 96) == (128, 128)  # 1.5 -> 2
    assert fit(64, 64, 160) == (128, 128)  # 2.5 -> 2


def test_fit_takes_other_multiples() -> None:
    assert fit(480, 640, 128, multiple=32) == (128, 160)


def test_a_strip_is_refused_with_the_bound() -> None:
    with pytest.raises(ValueError, match="1000x100, 10 times as long as wide: at most 4"):
        fit(100, 1000, 512)


def test_too_many_pixels_are_refused_with_the_bound() -> None:
    with pytest.raises(ValueError, match="1024x1024, 1048576 pixels: at most 1000000"):
        fit(100, 100, 1024, max_pixels=1_000_000)


def test_a_resolution_that_rounds_to_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="resolution is 32: give 33 or more"):
        fit(100, 100, 32)
    assert fit(100, 100, 33) == (64, 64)


@pytest.mark.parametrize(
    ("name", "arguments"), [("height", (0, 5, 64)), ("width", (5, -1, 64)), ("resolution", (5, 5, 0))]
)
def test_sizes_must_be_positive(name: str, arguments: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=f"{name} is"):
        fit(*arguments)


def _original(image: np.ndarray, resolution: int) -> np.ndarray:
    """The rule as the mission's facts state it, spelled out: k decides the filter."""
    height, width = image.shape[:2]
    k = resolution / min(height, width)
    h, w = (int(np.round(side * k / 64.0)) * 64 for side in (height, width))
    return cv2.resize(image, (w, h), interpolation=cv2.INTER_LANCZOS4 if k > 1 else cv2.INTER_AREA)


@pytest.mark.parametrize("size", [(64, 64), (60, 90), (127, 150), (128, 150), (129, 150), (300, 200), (511, 600)])
@pytest.mark.parametrize("resolution", [128, 512])
def test_resize_is_that_of_the_original(size: tuple[int, int], resolution: int) -> None:
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resize(image, *fit(*size, resolution)), _original(image, resolution))
