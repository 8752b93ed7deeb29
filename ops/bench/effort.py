"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Effort:
    """Sizes of the runs.

    Attributes:
        rounds: Alternated runs of each side.
        backlog: Images that wait at the start, tiny model.
        native_backlog: The same for the demo model.
        steps: Of an image in a uniform backlog.
        raw_steps: Of the bare loop that the demo's backlog is compared with.
        mixed_steps: Step counts of a mixed backlog.
        tail_steps: Step counts of images that arrive one by one.
        arrivals: Images that arrive in one run.
        tuning_arrivals: The same while the static batcher is tuned.
        grid: Largest batches (images) and waits (mean solo times) that the static batcher is tuned over.
        joins: Images that join a running batch.
        single_steps: Of the one image that diffusers makes too.
        calls: Alternated calls over HTTP and past it.
        served: Images that wait at the start over HTTP.
        singles: Alternated images over HTTP and without, nothing else running.
        crowd: Images that differ, of those that arrive over HTTP.
        lead_in: Seconds of arrivals that count for nothing.
        load: Seconds of arrivals after them.
        batches: Modes, largest batches (images) and waits (mean solo times) that `@serve.batch` is tuned over.
        tuning: Seconds of arrivals for each of them.
    """

    rounds: int
    backlog: int
    native_backlog: int
    steps: int
    raw_steps: int
    mixed_steps: tuple[int, ...]
    tail_steps: tuple[int, ...]
    arrivals: int
    tuning_arrivals: int
    grid: tuple[tuple[int, ...], tuple[float, ...]]
    joins: int
    single_steps: int
    calls: int
    served: int
    singles: int
    crowd: int
    lead_in: float
    load: float
    batches: tuple[tuple[Literal["key", "any"], ...], tuple[int, ...], tuple[float, ...]]
    tuning: float


FULL = Effort(
    rounds=5,
    backlog=64,
    native_backlog=32,
    steps=20,
    raw_steps=10,
    mixed_steps=(10, 20, 30, 50),
    tail_steps=(4, 8, 12, 20),
    arrivals=150,
    tuning_arrivals=60,
    grid=((2, 4, 8), (0.0, 0.5, 1.0)),
    joins=150,
    single_steps=20,
    calls=200,
    served=24,
    singles=20,
    crowd=40,
    lead_in=6.0,
    load=22.0,
    batches=(("key", "any"), (4, 8), (0.25, 1.0)),
    tuning=10.0,
)

QUICK = Effort(
    rounds=2,
    backlog=24,
    native_backlog=16,
    steps=20,
    raw_steps=8,
    mixed_steps=(10, 20, 30, 50),
    tail_steps=(4, 8, 12, 20),
    arrivals=60,
    tuning_arrivals=30,
    grid=((4, 8), (0.0, 0.5)),
    joins=50,
    single_steps=20,
    calls=40,
    served=16,
    singles=6,
    crowd=12,
    lead_in=2.0,
    load=6.0,
    batches=(("key", "any"), (8,), (0.5,)),
    tuning=4.0,
)
