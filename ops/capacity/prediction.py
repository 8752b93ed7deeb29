"""Calibrated on one load, how near is the simulator to others? The loads, and the comparison."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from controlnet.architecture import Architecture
from ops.bench.figure import Figure
from ops.bench.table import Table
from ops.capacity.calibration import ONE, gpu_of
from ops.capacity.exact import simulate_exactly
from ops.capacity.local import TENANTS, Local, mean_s, throughput
from ops.capacity.mix import Mix
from ops.capacity.table import CostTable
from ops.capacity.trace import Request, Shape
from ops.capacity.traffic import Traffic

TARGET = 0.15
"""Of the measured value, that the prediction may be off."""


def _shape(side: int, steps: int, n: int = 1, guidance: float = 3.0, controls: int = 0) -> Shape:
    return Shape(side, side, steps, n, guidance, controls)


CALIBRATED: tuple[tuple[Shape, float], ...] = (
    (_shape(64, 10), 0.3),
    (_shape(128, 10), 0.3),
    (_shape(64, 20, n=2), 0.2),
    (_shape(128, 16, controls=1), 0.2),
)
"""The load that one number is fitted on: at half of the capacity."""

PREDICTED: tuple[tuple[Shape, float], ...] = (
    (_shape(64, 6), 0.2),
    (_shape(64, 30, controls=1), 0.25),
    (_shape(128, 12, n=2), 0.15),
    (_shape(128, 24), 0.25),
    (_shape(128, 8, guidance=1.0), 0.15),
)
"""Loads that nothing is fitted on: at two thirds of it, and a burst on top."""


def calibration_load(table: CostTable, architecture: Architecture, seconds: float) -> list[Request]:
    """Requests from 0 on."""
    return _poisson(table, architecture, CALIBRATED, 0.5, seconds, seed=1)


def other_load(table: CostTable, architecture: Architecture, seconds: float, seed: int) -> list[Request]:
    """Other steps, sizes and numbers of images, another rate, and in the middle twelve jobs at once."""
    steady = _poisson(table, architecture, PREDICTED, 0.65, seconds, seed)
    burst = [
        Request(seconds / 2, TENANTS[i % len(TENANTS)], PREDICTED[(i + seed) % len(PREDICTED)][0]) for i in range(12)
    ]
    return sorted([*steady, *burst], key=lambda one: one.at)


def _poisson(
    table: CostTable,
    architecture: Architecture,
    shapes: tuple[tuple[Shape, float], ...],
    load: float,
    seconds: float,
    seed: int,
) -> list[Request]:
    mix = Mix(gpu_of(table), shapes, architecture)
    rate = load * mix.rate(math.ceil(mix.jobs))
    tenants = tuple((tenant, 1.0 / (1 + i)) for i, tenant in enumerate(TENANTS))
    requests = Traffic(rate, seconds, swing=0.0, shapes=shapes, tenants=tenants).requests(seed)
    return [replace(one, at=one.at - requests[0].at) for one in requests]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One load, really and simulated: images a second, and the mean seconds of a job."""

    jobs: int
    measured_rate: float
    predicted_rate: float
    measured_s: float
    predicted_s: float

    @property
    def rate_error(self) -> float:
        """Of the measured rate."""
        return self.predicted_rate / self.measured_rate - 1

    @property
    def latency_error(self) -> float:
        """Of the measured mean."""
        return self.predicted_s / self.measured_s - 1


def compare(local: Local, table: CostTable, seconds: float, seed: int) -> Comparison:
    """Predict, then do it."""
    architecture = local.teams.architecture
    requests = other_load(table, architecture, seconds, seed)
    predicted = simulate_exactly(requests, gpu_of(table), ONE, architecture)
    done = local.load(requests)
    return Comparison(len(done), throughput(done), predicted.images_per_s, mean_s(done), predicted.everyone.mean)


def figures(runs: Sequence[Comparison]) -> list[Figure | Table]:
    """Medians of the errors, and every run."""
    rate = statistics.median(abs(one.rate_error) for one in runs)
    latency = statistics.median(abs(one.latency_error) for one in runs)
    rows = [
        [
            str(number),
            str(one.jobs),
            f"{one.measured_rate:.2f}",
            f"{one.predicted_rate:.2f}",
            f"{one.rate_error:+.1%}",
            f"{one.measured_s:.2f}",
            f"{one.predicted_s:.2f}",
            f"{one.latency_error:+.1%}",
        ]
        for number, one in enumerate(runs, start=1)
    ]
    columns = ["run", "jobs", "images/s", "predicted", "off by", "mean s", "predicted", "off by"]
    of = f"median of {len(runs)} runs"
    return [
        Figure("capacity rate", f"throughput predicted, off by ({of})", rate, TARGET, at_most=True),
        Figure("capacity latency", f"mean latency predicted, off by ({of})", latency, TARGET, at_most=True),
        Table("Predicted without a refit", columns, rows),
    ]
