"""Warnings about a picture: the request was carried out, and a part of it had no effect or is rarely meant.

`Pipeline.warnings` finds those that the text encoder and the steps decide, `of_map` those of a control map.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the package loads OpenCV, which a sampler does without
    from controlnet.annotators.annotator import Picture

SHRUNK = 2.0
"""Times that a ready map may be shrunk before lines that were apart begin to merge."""

_FLAT = 8  # levels: a difference that no control was trained to read
_STRAY = 1e-4  # share of pixels that say nothing about a map
_MOSTLY = 0.5  # share of bright pixels that no map of lines on black has
_BRIGHT = 127


@dataclass(frozen=True, slots=True)
class ResultWarning:
    """One thing to know about a result.

    Attributes:
        code: Kind of the warning: `prompt-cut`, `negative-prompt-cut`, `negative-prompt-unused`, `one-step`,
            `window-without-step`, `map-one-tone`, `map-mostly-white`, `map-shrunk`. Programs compare it; more may come.
        field: Part of the request, as a dotted path (`controls.0.map`).
        detail: A sentence for a person.
    """

    code: str
    field: str
    detail: str


def of_map(control_map: Picture, picture: Picture, field: str, *, control: str, annotator: str) -> list[ResultWarning]:
    """Warnings about a control map that cannot steer as its maker meant.

    Args:
        control_map: uint8 [H, W, 3], as the network sees it.
        picture: uint8 [H', W', 3], which it was made from by `make_map`.
        field: Part of the request that it came from.
        control: Name of the control; `canny` was trained on bright lines on black.
        annotator: Made the map; under `none` the picture was a map already.
    """
    import numpy as np  # who keeps or shows warnings does without it

    (height, width), (from_height, from_width) = control_map.shape[:2], picture.shape[:2]
    ready, found = annotator == "none", []
    if ready and (times := min(from_height / height, from_width / width)) >= SHRUNK:
        detail = (
            f"The map is {from_width}x{from_height} and was shrunk to {width}x{height}: lines that are less than "
            f"{round(times)} pixels apart merge. Ask for a larger size, or give a map of this one."
        )
        found.append(ResultWarning("map-shrunk", field, detail))
    low, high = np.quantile(control_map, (_STRAY, 1 - _STRAY), method="nearest")
    if int(high) - int(low) < _FLAT:
        detail = "The map has one tone all over: it holds no structure that the image could follow."
        if not ready:
            detail += " Other `parameters` of the annotator may find some in the picture."
        return [*found, ResultWarning("map-one-tone", field, detail)]
    bright = float((control_map.max(axis=2) > _BRIGHT).mean())
    if "canny" in (control, annotator) and bright > _MOSTLY:
        detail = (
            f"{bright:.0%} of the map is bright, and the control was trained on bright lines on black: "
            "invert the map if its lines are dark."
        )
        found.append(ResultWarning("map-mostly-white", field, detail))
    return found
