"""A picture against the map that steered it."""

from __future__ import annotations

import numpy as np

from serve.imaging.adherence import adherence

SQUARE = np.zeros((64, 64, 3), np.uint8)
SQUARE[16:48, 16:48] = 255


def outline(shift: int) -> np.ndarray:
    """The square's own outline, so many pixels to the right."""
    made = np.zeros((64, 64, 3), np.uint8)
    left, right = 16 + shift, 47 + shift
    made[[16, 47], left : right + 1] = 255
    made[16:48, [left, right]] = 255
    return made


def test_a_picture_that_follows_its_map_within_a_pixel_scores_one() -> None:
    assert adherence(SQUARE, outline(0), 60, 140) == 1.0


def test_a_picture_beside_its_map_scores_less() -> None:
    assert adherence(SQUARE, outline(6), 60, 140) < 0.7


def test_a_picture_without_edges_scores_nothing() -> None:
    assert adherence(np.zeros_like(SQUARE), outline(0), 60, 140) == 0.0
