"""How near a picture is to another, and how well its edges follow a map."""

import cv2
import numpy as np
import numpy.typing as npt

from controlnet.annotators.annotator import Picture

CANNY = {"low_threshold": 60.0, "high_threshold": 140.0}
"""Thresholds that measurements in training use; also the bundle's defaults."""


def psnr(image: Picture, reference: Picture) -> float:
    """Peak signal-to-noise ratio of two [H, W, 3] pictures in dB; infinite if they are equal."""
    error = float(np.mean((image.astype(np.float64) - reference.astype(np.float64)) ** 2))
    return float("inf") if error == 0 else 10 * float(np.log10(255**2 / error))


def edges(
    image: Picture, low: float = CANNY["low_threshold"], high: float = CANNY["high_threshold"]
) -> npt.NDArray[np.bool_]:
    """Return the canny edges [H, W] of a picture [H, W, 3]."""
    return np.asarray(cv2.Canny(image, low, high) > 0)


def canny_f1(made: npt.NDArray[np.bool_], wanted: npt.NDArray[np.bool_], tolerance: int = 1) -> float:
    """F1 score of edges [H, W] against wanted ones.

    An edge pixel counts as right if one of the other map lies within `tolerance` pixels (a square): precision
    is the right share of the made edges, recall that of the wanted ones. Two empty maps agree.
    """
    if not made.any() or not wanted.any():
        return float(made.any() == wanted.any())
    kernel = np.ones((2 * tolerance + 1,) * 2, np.uint8)
    near_wanted = cv2.dilate(wanted.astype(np.uint8), kernel) > 0
    near_made = cv2.dilate(made.astype(np.uint8), kernel) > 0
    precision, recall = float(near_wanted[made].mean()), float(near_made[wanted].mean())
    return 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)
