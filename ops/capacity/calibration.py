"""A cost table out of real jobs: first one at a time, which tells the parts apart, then one load, which tells the rest.

What is fitted, in this order and never again:

1. jobs that had the platform to themselves: of each size `sampling = steps (a + b G + c) + image n + hop`, where G is
   the step's GFLOP and c counts where there is a control; what is before and after sampling;
2. one load: by how much the engine is slower where imaging, dispatcher and store use the same cores, which is the one
   number that makes the simulator's mean latency that of this load.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence

import numpy as np

from controlnet.architecture import Architecture
from ops.capacity.exact import simulate_exactly
from ops.capacity.local import Done, Local, mean_s
from ops.capacity.outcome import Outcome
from ops.capacity.policy import Policy
from ops.capacity.prices import Gpu
from ops.capacity.table import CostTable, SizeCost
from ops.capacity.trace import Floats, Shape, price

SIZES = ((64, 64), (128, 128))
IMAGES = (1, 2, 4, 8)
STEPS = (4, 12)
MAX_ROWS = 16
"""The platform's default."""

ONE = Policy(fewest=1, most=1)


def sweep(rounds: int) -> list[Shape]:
    """What is run alone: every size, batch and number of steps, without a control and with one."""
    shapes = [
        Shape(width=width, height=height, steps=steps, n=n, guidance=3.0, controls=controls)
        for width, height in SIZES
        for n in IMAGES
        for steps in STEPS
        for controls in ((0, 1) if n in (1, 4) else (0,))
    ]
    return shapes * rounds


def alone(local: Local, rounds: int) -> list[Done]:
    """Run the sweep."""
    return [local.alone(shape) for shape in sweep(rounds)]


def fitted(done: Sequence[Done], architecture: Architecture) -> CostTable:
    """A table from jobs that were alone, by least squares of relative errors; nothing takes less than no time."""
    sizes = dict.fromkeys((one.request.shape.width, one.request.shape.height) for one in done)
    rows, seconds = [], []
    for one in done:
        shape = one.request.shape
        gflop = price(shape, architecture).step_gflop
        own = [float(shape.steps), shape.steps * gflop, shape.steps * float(shape.controls > 0), float(shape.n)]
        mine = [own if (shape.width, shape.height) == size else [0.0] * 4 for size in sizes]
        rows.append([value for part in mine for value in part] + [1.0])
        seconds.append(one.timings["sampling"])
    *found, hop = nonnegative(np.array(rows), np.array(seconds))
    around = [one.seconds - one.timings["sampling"] for one in done]
    after = [one.timings["publishing"] for one in done]
    return CostTable(
        name="this machine",
        basis="measured",
        source="jobs that had the platform to themselves",
        sizes=tuple(
            SizeCost(width=width, height=height, fixed=a, per_gflop=max(b, 1e-9), control=c, image=image)
            for (width, height), (a, b, c, image) in zip(sizes, np.reshape(found, (-1, 4)).tolist(), strict=True)
        ),
        before_s=max(0.0, hop + statistics.median(around) - statistics.median(after)),
        after_s=statistics.median(after),
    )


def nonnegative(rows: Floats, seconds: Floats) -> Floats:
    """Least squares of relative errors without negative answers: what would be one is left out, the worst first."""
    scaled, ones = rows / seconds[:, None], np.ones(len(seconds))
    used = list(range(rows.shape[1]))
    while True:
        found = np.linalg.lstsq(scaled[:, used], ones, rcond=None)[0]
        if (found >= 0).all():
            answer = np.zeros(rows.shape[1])
            answer[used] = found
            return answer
        del used[int(np.argmin(found * scaled[:, used].mean(axis=0)))]


def gpu_of(table: CostTable) -> Gpu:
    """This machine, as if it were a kind of GPU; it costs nothing."""
    return Gpu("this machine", 0.0, 0.0, 0.0, 0.0, MAX_ROWS, table)


def simulated(table: CostTable, done: Sequence[Done], architecture: Architecture) -> Outcome:
    """What the simulator says of the same jobs, coming at the same moments."""
    requests = sorted((one.request for one in done), key=lambda one: one.at)
    return simulate_exactly(requests, gpu_of(table), ONE, architecture)


def slowed(table: CostTable, load: Sequence[Done], architecture: Architecture) -> tuple[CostTable, float]:
    """The table under load, and by how much its engine is slower than alone."""
    wanted = mean_s(load)
    factor = root(lambda by: simulated(table.at_speed(1 / by), load, architecture).everyone.mean - wanted, 0.3, 4.0)
    source = f"{table.source}, and one load under which the engine takes {factor:.2f} times as long"
    return table.at_speed(1 / factor).model_copy(update={"source": source}), factor


def root(of: Callable[[float], float], low: float, high: float) -> float:
    """Where a function that grows is 0, between `low` and `high`; the nearer of them where it is beyond."""
    for _ in range(24):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if of(middle) < 0 else (low, middle)
    return math.sqrt(low * high)
