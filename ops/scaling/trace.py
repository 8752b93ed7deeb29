"""A bursty trace: hours with hardly a job, busy minutes, and teams that send a hundred jobs at once.

All of it is assumed, nothing is fitted: kinds and shares are of the sort that public traces of image services show
(many small requests, few that cost a hundred times as much), and bursts are there to be hard on a policy.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

HOURS = 12


@dataclass(frozen=True, slots=True)
class Kind:
    """A sort of job.

    Attributes:
        rows: UNet rows of all its images.
        steps: Of each.
        step_gflop: Of one step of all of them, where one image at 512x512 is 1.
    """

    rows: int
    steps: int
    step_gflop: float

    @property
    def gflop(self) -> float:
        """Of the job."""
        return self.steps * self.step_gflop


SMALL = Kind(rows=2, steps=20, step_gflop=1.0)
SEVERAL = Kind(rows=8, steps=30, step_gflop=4.0)
LARGE = Kind(rows=8, steps=50, step_gflop=4 * 5.8)
"""Four images at 1024x1024: 5.8 times the work of 512x512 (controlnet.flops)."""

MIX = ((SMALL, 0.7), (SEVERAL, 0.2), (LARGE, 0.1))


@dataclass(frozen=True, slots=True)
class Arrival:
    """A job that comes at `at` seconds."""

    at: float
    kind: Kind


def trace(seed: int, hours: float = HOURS) -> list[Arrival]:
    """The jobs of some hours, in their order."""
    random_ = random.Random(seed)
    end, now = hours * 3600.0, 0.0
    arrivals: list[Arrival] = []
    phases: Sequence[Callable[[random.Random, float], tuple[float, list[Arrival]]]] = (_quiet, _busy, _flood, _campaign)
    while now < end:
        phase = random_.choices(phases, weights=(4, 3, 1, 1))[0]
        seconds, came = phase(random_, now)
        arrivals += came
        now += seconds
    return sorted((arrival for arrival in arrivals if arrival.at < end), key=lambda arrival: arrival.at)


def _quiet(random_: random.Random, now: float) -> tuple[float, list[Arrival]]:
    """A quarter of an hour, as it happens, with a job every ten minutes."""
    return _poisson(random_, now, random_.expovariate(1 / 900), rate=1 / 600)


def _busy(random_: random.Random, now: float) -> tuple[float, list[Arrival]]:
    """Ten minutes or so of people at work: about what one or two samplers do."""
    return _poisson(random_, now, random_.expovariate(1 / 600), rate=random_.uniform(0.2, 0.8))


def _flood(random_: random.Random, now: float) -> tuple[float, list[Arrival]]:
    """Someone's script sends hundreds of small jobs in a minute."""
    return 120.0, [Arrival(now + random_.uniform(0, 60), SMALL) for _ in range(random_.randint(200, 500))]


def _campaign(random_: random.Random, now: float) -> tuple[float, list[Arrival]]:
    """A team has its catalogue made: tens of large jobs in a minute."""
    return 120.0, [Arrival(now + random_.uniform(0, 60), LARGE) for _ in range(random_.randint(20, 60))]


def _poisson(random_: random.Random, now: float, seconds: float, rate: float) -> tuple[float, list[Arrival]]:
    kinds, weights = [kind for kind, _ in MIX], [weight for _, weight in MIX]
    arrivals: list[Arrival] = []
    at = now + random_.expovariate(rate)
    while at < now + seconds:
        arrivals.append(Arrival(at, random_.choices(kinds, weights)[0]))
        at += random_.expovariate(rate)
    return seconds, arrivals
