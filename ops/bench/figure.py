"""One number with its target, and what it was made of."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured.

    Attributes:
        name: As in the issue: `C1`, with the subject where there are two.
        title: What the value is.
        value: None where it was refused.
        target: What it should reach; None where none was set.
        at_most: Whether the value should stay below the target, not above.
        detail: Whatever explains the value; JSON.
        refused: Why there is no value.
    """

    name: str
    title: str
    value: float | None
    target: float | None
    at_most: bool = False
    detail: Mapping[str, object] = field(default_factory=dict)
    refused: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without one."""
        if self.target is None:
            return None
        if self.value is None:
            return False
        return self.value <= self.target if self.at_most else self.value >= self.target


def paired(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """The median of the ratios of runs that were made one after the other.

    A machine that others use grows slower for both runs of a pair, so their ratio holds where medians apart would not.
    """
    return statistics.median(a / b for a, b in zip(numerators, denominators, strict=True))


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0 .. 1) of `values` do not exceed: one of them, never between two."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]
