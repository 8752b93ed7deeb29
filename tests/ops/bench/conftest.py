from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from ops.bench.bench import Bench
from ops.bench.effort import Effort
from ops.bench.runs import model_of
from ops.bench.subjects import Subject, tiny
from serve.engine.core import Batch, Image, Key, Model

SMOKE = Effort(
    rounds=1,
    backlog=4,
    native_backlog=4,
    steps=2,
    raw_steps=1,
    mixed_steps=(1, 2, 3),
    tail_steps=(1, 2, 3),
    arrivals=8,
    tuning_arrivals=4,
    grid=((2,), (0.0, 0.5)),
    joins=3,
    single_steps=1,
    calls=2,
    served=2,
    singles=1,
    crowd=4,
    lead_in=0.0,
    load=1.0,
    batches=(("any",), (2,), (0.5,)),
    tuning=1.0,
)


class Perturbed:
    """A model whose last picture of a batch is a little brighter at one pixel."""

    def __init__(self, model: Model, levels: int) -> None:
        self.model, self.levels = model, levels

    def start(self, images: Sequence[Image]) -> list[object]:
        return self.model.start(images)

    def step(self, batch: Batch) -> list[object]:
        return self.model.step(batch)

    def finish(self, key: Key, states: Sequence[object]) -> list[object]:
        *others, last = self.model.finish(key, states)
        assert isinstance(last, np.ndarray)
        level = int(last[0, 0, 0])
        last = last.copy()
        last[0, 0, 0] = level + (self.levels if level < 128 else -self.levels)
        return [*others, last]


@pytest.fixture(scope="session")
def subject() -> Subject:
    return tiny()


@pytest.fixture(scope="session")
def bench(subject: Subject) -> Bench:
    """The tiny model in both places."""
    return Bench(SMOKE, subject, subject)


@pytest.fixture(scope="session")
def wrong_bench(subject: Subject) -> Bench:
    return Bench(SMOKE, subject, subject, lambda subject: Perturbed(model_of(subject), levels=2))
