"""What metal a part is made of, by the colour of its pixels: a rule of three numbers, nothing learned.

Rust is copper's orange, so the colours are not counted against each other: a part with a fair share of grey or yellow
pixels is what that colour says, and the rust on it; a part with neither is copper. A grey part is steel where it is
light and black where it is dark.
"""

import cv2
import numpy as np
import numpy.typing as npt

from controlnet.annotators.annotator import Picture
from controlnet.parts import MATERIALS

GREY = 0.2
"""Of linear light: below this difference of the shares of red and blue a pixel is grey (steel 0.03, brass 0.5)."""

YELLOW = 0.29
"""Share of green in a pixel that isn't grey: above is brass (0.35), below copper (0.17) or rust (0.2)."""

LIGHT = 0.27
"""Median of red + green + blue of the grey pixels, in linear light: black stays below 0.23, steel above 0.32."""

FAIR = 0.2
"""Share of a part's pixels that decides: of a rusty part at least 0.3 are bare metal."""


def material_of(image: Picture, mask: npt.NDArray[np.bool_]) -> int:
    """Tell the material of the part under a mask.

    Args:
        image: [H, W, 3] RGB.
        mask: [H, W], True on the part; its rim is left out, where the bench shines through.

    Returns:
        Index in `MATERIALS`.

    Raises:
        ValueError: the mask is empty.
    """
    if not mask.any():
        raise ValueError("the mask is empty: there is no part to look at")
    inside = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    linear = (image[inside if inside.any() else mask].astype(np.float32) / 255) ** 2.2
    light = linear.sum(1) + 1e-6
    red, green, blue = (linear / light[:, None]).T
    grey = red - blue < GREY
    yellow = ~grey & (green > YELLOW)
    if max(grey.mean(), yellow.mean()) < FAIR:
        name = "copper"
    elif yellow.mean() > grey.mean():
        name = "brass"
    else:
        name = "steel" if np.median(light[grey]) > LIGHT else "black"
    return MATERIALS.index(name)
