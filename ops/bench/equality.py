"""The gate before every score: the pictures must be those of one image at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from controlnet.pipeline import Control
from ops.bench.crowds import Specs, mixed
from ops.bench.runs import one_at_a_time, together
from ops.bench.subjects import Subject
from serve.engine.core import Model

TOLERANCE = 1
"""Of 255 levels, at the worst pixel: in another bucket a sum is rounded in another order, and a level may tip over."""


class Unequal(Exception):
    """The pictures are not those of one image at a time, so there is nothing to score."""


def require_equal(made: Mapping[str, object], expected: Mapping[str, object], tolerance: int = TOLERANCE) -> int:
    """Compare pictures by name.

    Returns:
        The largest difference, in levels.

    Raises:
        Unequal: An image is missing, is no picture, or differs by more than `tolerance` levels at some pixel.
    """
    if made.keys() != expected.keys():
        raise Unequal(f"{len(made)} images instead of {len(expected)}")
    largest = 0
    for name, reference in expected.items():
        picture = made[name]
        assert isinstance(reference, np.ndarray)
        if not isinstance(picture, np.ndarray) or picture.shape != reference.shape:
            raise Unequal(f"image {name} is no picture of the same size: {picture!r:.200}")
        apart = int(np.abs(picture.astype(int) - reference.astype(int)).max())
        if apart > tolerance:
            raise Unequal(f"image {name} differs by {apart} of 255 levels; {tolerance} are allowed")
        largest = max(largest, apart)
    return largest


def require_same_bytes(model: Model, subject: Subject, steps: int = 6, pinned: int = 4) -> None:
    """A crowd in one pinned bucket against one image at a time in that bucket: not a bit may differ.

    Raises:
        Unequal: It does.
    """
    specs = crowd(subject, steps)
    require_equal(together(model, specs, pinned).pictures, one_at_a_time(subject, specs, pinned).pictures, tolerance=0)


def crowd(subject: Subject, steps: int) -> Specs:
    """Few images that need many paths: a row alone, a control used twice, guess mode, every sampler."""
    specs = mixed(subject, 6, (steps, steps - 1))
    controls = specs["1"].controls
    specs["0"] = replace(specs["0"], guidance=1.0)
    specs["1"] = replace(specs["1"], controls=(*controls, Control(controls[0].name, subject.hint(99), 0.5, guess=True)))
    specs["2"] = replace(specs["2"], sampler="dpmpp_2m")
    specs["3"] = replace(specs["3"], sampler="euler", controls=())
    specs["4"] = replace(specs["4"], eta=0.5)
    return specs
