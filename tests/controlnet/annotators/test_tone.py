"""none, invert, threshold."""

import numpy as np

from controlnet.annotators import ANNOTATORS

PICTURE = np.array([[[0, 0, 0], [255, 255, 255], [200, 10, 200], [127, 127, 127], [128, 200, 255]]], np.uint8)


def test_none_keeps_the_picture() -> None:
    np.testing.assert_array_equal(ANNOTATORS["none"](PICTURE), PICTURE)


def test_invert_is_the_negative() -> None:
    np.testing.assert_array_equal(ANNOTATORS["invert"](PICTURE), 255 - PICTURE)


def test_threshold_is_white_where_the_darkest_channel_is_above() -> None:
    expected = np.array([0, 255, 0, 0, 255], np.uint8)
    np.testing.assert_array_equal(ANNOTATORS["threshold"](PICTURE), np.repeat(expected[None, :, None], 3, axis=2))


def test_the_threshold_moves() -> None:
    assert ANNOTATORS["threshold"](PICTURE, {"threshold": 0})[0, :, 0].tolist() == [0, 255, 255, 255, 255]
    assert not ANNOTATORS["threshold"](PICTURE, {"threshold": 255}).any()
