"""Pictures before they are annotated: three channels, and a size the model can take.

The rules are those of the original repository (`HWC3` and `resize_image` in annotator/util.py), with caps added: it
would make 512x5120 pixels of a 100x1000 picture.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from controlnet.annotators.annotator import Picture

MAX_PIXELS = 1 << 21
MAX_ASPECT = 4.0


def to_rgb(image: NDArray[np.uint8]) -> Picture:
    """Three channels from one, three or four.

    Args:
        image: uint8 [H, W] or [H, W, 1] grey, [H, W, 3] RGB, or [H, W, 4] RGBA, which is laid over white.

    Returns:
        uint8 [H, W, 3].

    Raises:
        ValueError: Another type or another number of channels.
    """
    if image.dtype != np.uint8:
        raise ValueError(f"the picture has type {image.dtype}: give uint8")
    planes = image[:, :, None] if image.ndim == 2 else image
    if planes.ndim != 3 or planes.shape[2] not in (1, 3, 4):
        raise ValueError(f"the picture has shape {image.shape}: give [H, W], or [H, W, C] with 1, 3 or 4 channels")
    if planes.shape[2] == 1:
        return np.repeat(planes, 3, axis=2)
    if planes.shape[2] == 3:
        return planes
    colour = planes[:, :, :3].astype(np.float32)
    alpha = planes[:, :, 3:].astype(np.float32) / 255.0
    over_white: NDArray[np.float32] = colour * alpha + 255.0 * (1.0 - alpha)
    return over_white.clip(0, 255).astype(np.uint8)  # cut off, not rounded, as the original does


def fit(
    height: int,
    width: int,
    resolution: int,
    multiple: int = 64,
    max_pixels: int = MAX_PIXELS,
    max_aspect: float = MAX_ASPECT,
) -> tuple[int, int]:
    """The size to sample at: the short side at `resolution`, both sides at the nearest multiple of `multiple`.

    Halves are rounded to the even multiple, as `np.round` does. The aspect ratio may change a little.

    Args:
        height: Of the picture, pixels.
        width: Of the picture, pixels.
        resolution: Wanted short side, pixels.
        multiple: What both sides must be divisible by (`Architecture.multiple`).
        max_pixels: Bound on height * width of the result.
        max_aspect: Bound on long side / short side of the picture.

    Returns:
        (height, width) in pixels.

    Raises:
        ValueError: An argument isn't positive, a bound is exceeded, or a side would be rounded to nothing.
    """
    for name, value in (("height", height), ("width", width), ("resolution", resolution), ("multiple", multiple)):
        if value < 1:
            raise ValueError(f"{name} is {value}: give 1 or more")
    aspect = max(height, width) / min(height, width)
    if aspect > max_aspect:
        raise ValueError(f"the picture is {width}x{height}, {aspect:.3g} times as long as wide: at most {max_aspect:g}")
    scale = float(resolution) / min(height, width)
    h, w = (int(np.round(side * scale / multiple)) * multiple for side in (height, width))
    if min(h, w) == 0:
        raise ValueError(f"resolution is {resolution}: give {multiple // 2 + 1} or more, for sides of {multiple}")
    if h * w > max_pixels:
        raise ValueError(f"the result would be {w}x{h}, {h * w} pixels: at most {max_pixels}")
    return h, w


def size_to_sample(
    picture: tuple[int, int] | None,
    is_map: bool,
    resolution: int | None,
    native: tuple[int, int],
    multiple: int,
    max_pixels: int = MAX_PIXELS,
    max_aspect: float = MAX_ASPECT,
) -> tuple[int, int]:
    """The size to sample at where width and height are not given: the first picture's, `fit` to the model.

    Args:
        picture: (height, width) of the first picture, if there is one.
        is_map: Whether it is a ready map.
        resolution: Wanted short side, pixels; the model's, or a ready map's, when absent.
        native: (height, width) that the model was trained at.
        multiple: As for `fit`.
        max_pixels: As for `fit`.
        max_aspect: As for `fit`.

    Returns:
        (height, width) in pixels.

    Raises:
        ValueError: As `fit`.
    """
    if picture is None and resolution is None and native[0] * native[1] <= max_pixels:
        return native
    shape = native if picture is None else picture
    short = resolution or min(native)
    if picture is not None and is_map and resolution is None:
        short = natural_resolution(*shape, short, multiple, max_pixels)
    return fit(*shape, short, multiple, max_pixels, max_aspect)


def natural_resolution(height: int, width: int, native: int, multiple: int, max_pixels: int = MAX_PIXELS) -> int:
    """The short side to sample at where a ready map is given and no size: the map's, but not below the model's.

    A map that is shrunk says less than it did; one that is grown says as much.

    Args:
        height: Of the map, pixels.
        width: Of the map, pixels.
        native: Short side that the model was trained at, pixels.
        multiple: As for `fit`.
        max_pixels: As for `fit`; the largest short side below it is given where the map's is above.
    """
    short, long = min(height, width), max(height, width)
    bound = math.isqrt(max_pixels * short // long) // multiple * multiple
    while bound > multiple and bound * (round(long * bound / short / multiple) * multiple) > max_pixels:
        bound -= multiple  # the long side was rounded up
    return max(native, min(short, bound))


def resize(image: Picture, height: int, width: int) -> Picture:
    """Resize a picture: Lanczos where its short side grows, pixel areas where it shrinks or stays.

    Args:
        image: uint8 [H, W, 3].
        height: Of the result, pixels.
        width: Of the result, pixels.

    Returns:
        uint8 [height, width, 3].
    """
    grows = min(height, width) > min(image.shape[:2])
    return np.asarray(
        cv2.resize(image, (width, height), interpolation=cv2.INTER_LANCZOS4 if grows else cv2.INTER_AREA), np.uint8
    )
