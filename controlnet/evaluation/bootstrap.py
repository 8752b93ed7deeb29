"""How sure a mean is: percentile bootstrap over images (Efron 1979)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RESAMPLES = 2000
SMALLEST = 1e-3
"""What a ratio is taken over at least: a model that draws no edges at all without a map is not infinitely better."""


@dataclass(frozen=True)
class Interval:
    """A figure, and the 95 % interval of it.

    Attributes:
        value: of all images.
        low: 2.5 % of the resamples are below.
        high: 2.5 % of the resamples are above.
        count: of images.
    """

    value: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def mean(values: Sequence[float] | npt.NDArray[np.generic]) -> Interval:
    """The mean of one number an image, truth values included.

    Raises:
        ValueError: there are none.
    """
    return ratio(values, np.ones(len(values)))


def ratio(
    values: Sequence[float] | npt.NDArray[np.generic], reference: Sequence[float] | npt.NDArray[np.generic]
) -> Interval:
    """The mean of one number an image over the mean of another; an image is drawn with both of its numbers.

    Raises:
        ValueError: there are none, or not as many of the one as of the other.
    """
    above, below = np.asarray(values, np.float64), np.asarray(reference, np.float64)
    if not len(above) or len(above) != len(below):
        raise ValueError(f"{len(above)} values over {len(below)}: give as many of both, one at least")
    # The seed is fixed, so that equal pictures have equal intervals.
    drawn = np.random.default_rng(0).integers(len(above), size=(RESAMPLES, len(above)))
    resampled = above[drawn].mean(1) / np.maximum(below[drawn].mean(1), SMALLEST)
    low, high = np.quantile(resampled, (0.025, 0.975))
    return Interval(float(above.mean() / max(below.mean(), SMALLEST)), float(low), float(high), len(above))
