"""Pictures -> control maps of the size that is sampled -> hints."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from controlnet.annotators import find, resize

Pixels = NDArray[np.uint8]

_MOST_LABELS = 256
_SAMPLE = 16  # one row in so many is enough to tell most photographs from a map of labels


def make_map(picture: Pixels, annotator: str, parameters: Mapping[str, float], width: int, height: int) -> Pixels:
    """The control map of a picture.

    A picture is resized by the original's rule (`controlnet.annotators.resize`) and then annotated, so that edges are
    as thin as those the control was trained on. Under the annotator `none` the picture is a map already, and is
    resized so that it stays one:

    - two tones (edges, scribbles, masks) stay two. Shrunk by areas, a line one pixel wide would turn to faint grey,
      which says "a weak edge"; by nearest neighbours it would break. It stays a line here.
    - up to 256 colours are labels (segmentation, skeletons): nearest neighbours, as a mixture of two labels is a
      third one.
    - all else (depth, normals, soft edges) is smooth: areas where it shrinks, linear where it grows, as in the
      original's own resizing of maps. Lanczos would ring at depth's steps.

    Args:
        picture: uint8 [H, W, 3]; not changed.
        annotator: Name in `controlnet.annotators.ANNOTATORS`.
        parameters: Of the annotator; those left out get their defaults.
        width: Of the map, pixels.
        height: Of the map, pixels.

    Returns:
        uint8 [height, width, 3].

    Raises:
        ValueError: There is no such annotator, or it refuses the parameters.
    """
    make = find(annotator)
    sized = _resize_map(picture, width, height) if annotator == "none" else resize(picture, height, width)
    return make(sized, parameters)


def to_hint(control_map: Pixels) -> NDArray[np.float32]:
    """A control map as a ControlNet takes it: uint8 [H, W, 3] -> float32 [3, H, W] in [0, 1]."""
    return np.ascontiguousarray(control_map.transpose(2, 0, 1)).astype(np.float32) / np.float32(255)


def _resize_map(picture: Pixels, width: int, height: int) -> Pixels:
    if picture.shape[:2] == (height, width):
        return picture
    size, shrinks = (width, height), min(height, width) <= min(picture.shape[:2])
    colours = _colours(picture)
    if len(colours) == 2 and shrinks:
        return _shrink_lines(picture, colours, size)
    if len(colours) <= 2 or (len(colours) <= _MOST_LABELS and not _grey(colours)):
        rule = cv2.INTER_NEAREST_EXACT
    else:
        rule = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, size, interpolation=rule), np.uint8)


def _shrink_lines(picture: Pixels, colours: NDArray[np.uint32], size: tuple[int, int]) -> Pixels:
    """Two tones, the rarer of which draws: a pixel gets it where a line one pixel wide would put half its width."""
    first = _packed(picture) == colours[0]
    drawn, ground = (0, 1) if 2 * np.count_nonzero(first) <= first.size else (1, 0)
    mask = (first if drawn == 0 else ~first).astype(np.float32)
    covered = np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_AREA))
    shrink = max(picture.shape[1] / size[0], picture.shape[0] / size[1], 1.0)
    # A line may fall on the border of two pixels: each has half of it then, and it must not vanish from both.
    line = covered >= 0.5 / shrink - 1e-6
    tones = _unpacked(colours)
    return np.asarray(np.where(line[:, :, None], tones[drawn], tones[ground]), np.uint8)


def _colours(picture: Pixels) -> NDArray[np.uint32]:
    """The distinct colours, packed and sorted; not all of them where there are more than `_MOST_LABELS`."""
    some = np.unique(_packed(picture[::_SAMPLE]))
    if len(some) > _MOST_LABELS:
        return some
    seen = np.zeros(1 << 24, np.bool_)
    seen[_packed(picture)] = True
    return np.flatnonzero(seen).astype(np.uint32)


def _grey(colours: NDArray[np.uint32]) -> bool:
    tones = _unpacked(colours)
    return bool((tones == tones[:, :1]).all())


def _packed(picture: Pixels) -> NDArray[np.uint32]:
    """[..., 3] -> [...], one number a colour."""
    red, green, blue = (picture[..., i].astype(np.uint32) for i in range(3))
    return np.asarray(red << 16 | green << 8 | blue, np.uint32)


def _unpacked(colours: NDArray[np.uint32]) -> Pixels:
    """[N] -> [N, 3]."""
    return np.stack([colours >> shift & 255 for shift in (16, 8, 0)], axis=1).astype(np.uint8)
