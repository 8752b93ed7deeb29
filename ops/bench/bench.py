"""What every figure is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ops.bench.effort import Effort
from ops.bench.runs import model_of
from ops.bench.subjects import Subject
from serve.engine.core import Model


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """What is measured and how hard.

    Attributes:
        effort: Sizes of the runs.
        tiny: The model that batching pays for.
        demo: The model that ships.
        model: The engine's model of a subject; a test puts a wrong one here.
    """

    effort: Effort
    tiny: Subject
    demo: Subject
    model: Callable[[Subject], Model] = model_of
