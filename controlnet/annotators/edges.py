"""Maps of edges."""

from collections.abc import Mapping

import cv2
import numpy as np

from controlnet.annotators.annotator import Annotator, Parameter, Picture


def _canny(image: Picture, parameters: Mapping[str, float]) -> Picture:
    # On the colours themselves, as the original does: OpenCV takes the strongest gradient of the three channels, so
    # edges between colours of equal brightness are found. Its defaults are the original's: L1 norm, 3x3 Sobel.
    edges = cv2.Canny(image, parameters["low_threshold"], parameters["high_threshold"])
    return np.repeat(edges[:, :, None], 3, axis=2).astype(np.uint8, copy=False)


CANNY = Annotator(
    name="canny",
    description="Thin edges by Canny's detector: white on black.",
    parameters=(
        Parameter("low_threshold", 1, 255, 100, 1, "Gradient above which a pixel continues an edge."),
        Parameter("high_threshold", 1, 255, 200, 1, "Gradient above which a pixel starts an edge."),
    ),
    annotate=_canny,
)
