"""What every annotator is: a name, bounded parameters, a pure function."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""RGB, [H, W, 3]."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number that a caller may set.

    Attributes:
        name: As in requests.
        minimum: Smallest value taken.
        maximum: Largest value taken.
        default: Where the caller says nothing.
        step: What a slider moves by. Values between steps are taken too.
        description: One sentence.
    """

    name: str
    minimum: float
    maximum: float
    default: float
    step: float
    description: str

    def __post_init__(self) -> None:
        """Refuse a default out of bounds."""
        if not self.minimum <= self.default <= self.maximum:
            raise ValueError(f"{self.name}: default {self.default} is not in {self.minimum}..{self.maximum}")


@dataclass(frozen=True, slots=True)
class Annotator:
    """Makes control maps from pictures.

    Attributes:
        name: Key in the registry.
        description: One sentence, with the polarity of the map.
        parameters: In the order in which a form shows them.
        annotate: The function itself; call the annotator instead, which checks what goes in.
    """

    name: str
    description: str
    parameters: tuple[Parameter, ...]
    annotate: Callable[[Picture, Mapping[str, float]], Picture]

    def __call__(self, image: Picture, parameters: Mapping[str, float] | None = None) -> Picture:
        """The control map of a picture.

        Args:
            image: uint8 RGB [H, W, 3]; not changed.
            parameters: Those left out get their defaults.

        Returns:
            uint8 RGB [H, W, 3] of the same size, in memory of its own.

        Raises:
            ValueError: The picture has another type or shape, or `validate` refuses the parameters.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(f"the picture is {image.dtype} {image.shape}: give uint8 [H, W, 3] (see to_rgb)")
        return self.annotate(np.ascontiguousarray(image), self.validate(parameters or {}))

    def validate(self, parameters: Mapping[str, float]) -> dict[str, float]:
        """All parameters, with defaults for those left out.

        Raises:
            ValueError: A name is unknown, or a value isn't a number within the bounds.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        for name, value in parameters.items():
            if name not in known:
                choices = f"choose from {', '.join(known)}" if known else "it has none"
                raise ValueError(f"{name!r} is no parameter of annotator {self.name}: {choices}")
            low, high = known[name].minimum, known[name].maximum
            number = isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
            if not number or not low <= value <= high:
                raise ValueError(f"{name} of annotator {self.name} is {value!r}: give a number in {low}..{high}")
        return {name: parameters.get(name, parameter.default) for name, parameter in known.items()}
