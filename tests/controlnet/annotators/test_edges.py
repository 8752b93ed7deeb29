"""Canny against OpenCV itself."""

import cv2
import numpy as np
import pytest

from controlnet.annotators import ANNOTATORS

CANNY = ANNOTATORS["canny"]


def picture() -> np.ndarray:
    drawn = np.full((96, 128, 3), (40, 90, 160), np.uint8)
    cv2.circle(drawn, (60, 40), 25, (200, 90, 30), -1)
    cv2.rectangle(drawn, (80, 50), (120, 90), (60, 120, 190), -1)
    return cv2.GaussianBlur(drawn, (5, 5), 1.0)


@pytest.mark.parametrize("thresholds", [(100, 200), (1, 255), (50, 60), (30.5, 90.25)])
def test_canny_is_that_of_opencv_on_the_colours(thresholds: tuple[float, float]) -> None:
    made = CANNY(picture(), dict(zip(("low_threshold", "high_threshold"), thresholds, strict=True)))
    np.testing.assert_array_equal(made, np.stack([cv2.Canny(picture(), *thresholds)] * 3, axis=2))


def test_the_defaults_are_those_of_the_original() -> None:
    np.testing.assert_array_equal(CANNY(picture())[:, :, 0], cv2.Canny(picture(), 100, 200))


def test_edges_are_white_on_black_and_there_are_some() -> None:
    made = CANNY(picture())
    assert set(np.unique(made)) == {0, 255}
    assert 0.005 < (made == 255).mean() < 0.2


def test_an_edge_between_colours_of_equal_grey_is_found() -> None:
    split = np.zeros((32, 32, 3), np.uint8)
    split[:, :16], split[:, 16:] = (150, 0, 0), (0, 76, 0)
    grey = cv2.cvtColor(split, cv2.COLOR_RGB2GRAY)
    assert abs(int(grey[0, 0]) - int(grey[0, -1])) <= 1
    assert CANNY(split).any()
