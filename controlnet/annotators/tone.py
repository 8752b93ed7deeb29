"""Maps that look at a pixel's tone alone; for drawings, and for maps that were made elsewhere."""

from collections.abc import Mapping

import numpy as np

from controlnet.annotators.annotator import Annotator, Parameter, Picture


def _none(image: Picture, parameters: Mapping[str, float]) -> Picture:
    return image.copy()


def _invert(image: Picture, parameters: Mapping[str, float]) -> Picture:
    return np.bitwise_not(image)


def _threshold(image: Picture, parameters: Mapping[str, float]) -> Picture:
    # The darkest channel decides, so that a coloured stroke on white paper counts as a stroke.
    light = image.min(axis=2, keepdims=True) > parameters["threshold"]
    return np.repeat(np.where(light, np.uint8(255), np.uint8(0)), 3, axis=2)


NONE = Annotator("none", "The picture is the control map already.", (), _none)

INVERT = Annotator("invert", "The negative: turns black lines on white into white on black.", (), _invert)

THRESHOLD = Annotator(
    name="threshold",
    description="White where the darkest channel is above the threshold, black elsewhere.",
    parameters=(Parameter("threshold", 0, 255, 127, 1, "Tone above which a pixel becomes white."),),
    annotate=_threshold,
)
