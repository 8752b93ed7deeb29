"""Pictures -> control maps of the size that is sampled: one rule for the API, the command line and the trainer."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from controlnet.annotators.annotator import Picture
from controlnet.annotators.image import resize
from controlnet.annotators.registry import find

_MOST_LABELS = 256
_STRAY = 1e-4  # share of pixels that say nothing about a map's tones
_BETWEEN = 0.04  # share of pixels that may lie between two tones: edges that JPEG or a drawing program has softened
_NEAR = 1 / 8  # of the distance of two tones: what still is one of them
_APART = 64  # levels between two tones, at least
_SAMPLE = 16  # one row in so many is enough to tell most photographs from a map of labels


def make_map(picture: Picture, annotator: str, parameters: Mapping[str, float], width: int, height: int) -> Picture:
    """The control map of a picture.

    A picture is resized by the original's rule (`controlnet.annotators.resize`) and then annotated, so that edges are
    as thin as those the control was trained on. Under the annotator `none` the picture is a map already, and is
    resized so that it stays one:

    - two tones (edges, scribbles, masks) stay two. Shrunk by areas, a line one pixel wide would turn to faint grey,
      which says "a weak edge"; by nearest neighbours it would break. It stays a line here. Greys close to two tones
      are those two: after a JPEG, a drawing program or a resize few maps have exactly two.
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


def _resize_map(picture: Picture, width: int, height: int) -> Picture:
    if picture.shape[:2] == (height, width):
        return picture
    size, shrinks = (width, height), min(height, width) <= min(picture.shape[:2])
    colours = _colours(picture)
    if len(colours) > 2 and (apart := _two_tones(picture)) is not None:
        picture = apart
        colours = _colours(picture)
    if len(colours) == 2 and shrinks:
        return _shrink_lines(picture, colours, size)
    if len(colours) <= 2 or (len(colours) <= _MOST_LABELS and not _grey(colours)):
        rule = cv2.INTER_NEAREST_EXACT
    else:
        rule = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, size, interpolation=rule), np.uint8)


def _two_tones(picture: Picture) -> Picture | None:
    """A grey map of two tones and few levels between them, with those two alone; None for another map."""
    grey = picture[:, :, 1]
    if np.count_nonzero(np.ptp(picture, axis=2) > _NEAR * _APART) > _STRAY * grey.size:
        return None
    counts = np.bincount(grey.ravel(), minlength=256)
    share = np.cumsum(counts) / grey.size
    dark, bright = (int(np.searchsorted(share, at)) for at in (_STRAY, 1 - _STRAY))
    near = _NEAR * (bright - dark)
    levels = np.arange(256)
    of_dark, of_bright = levels <= dark + near, levels >= bright - near
    if bright - dark < _APART or counts[~(of_dark | of_bright)].sum() > _BETWEEN * grey.size:
        return None
    tones = [int(np.argmax(np.where(of, counts, -1))) for of in (of_dark, of_bright)]
    drawn = np.where(grey > (dark + bright) / 2, np.uint8(tones[1]), np.uint8(tones[0]))
    return np.repeat(drawn[:, :, None], 3, axis=2)


def _shrink_lines(picture: Picture, colours: NDArray[np.uint32], size: tuple[int, int]) -> Picture:
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


def _colours(picture: Picture) -> NDArray[np.uint32]:
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


def _packed(picture: Picture) -> NDArray[np.uint32]:
    """[..., 3] -> [...], one number a colour."""
    red, green, blue = (picture[..., i].astype(np.uint32) for i in range(3))
    return np.asarray(red << 16 | green << 8 | blue, np.uint32)


def _unpacked(colours: NDArray[np.uint32]) -> Picture:
    """[N] -> [N, 3]."""
    return np.stack([colours >> shift & 255 for shift in (16, 8, 0)], axis=1).astype(np.uint8)
