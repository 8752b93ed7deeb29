"""How well a finished picture follows the canny map that steered it: what a model's quality is watched by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from controlnet.evaluation.metrics import canny_f1, edges

TOLERANCE = 1
"""Pixels by which an edge may be off, as in the evaluation of models."""


def adherence(picture: NDArray[np.uint8], control_map: NDArray[np.uint8], low: float, high: float) -> float:
    """F1 of a picture's own canny edges against its map; 1 is the same drawing, 0 nothing in common.

    Args:
        picture: uint8 [H, W, 3].
        control_map: uint8 [H, W, 3], white where an edge was wanted.
        low: Threshold of the picture's edges, 0 .. 255.
        high: Likewise.
    """
    return canny_f1(edges(picture, low, high), control_map[..., 0] > 127, TOLERANCE)
