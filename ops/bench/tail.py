"""C3: how long the unlucky wait when images arrive one by one, at nine tenths of what one at a time can make.

Engine and static batcher are run. The queue of one at a time is computed, by Lindley's recursion over the measured
seconds of each image alone: its tail takes thousands of arrivals to grow to its full length, which would take an hour.
All latencies are told in mean solo times of their round, so that a machine that slows down slows both sides.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from controlnet.generate import generate
from controlnet.pipeline import ImageSpec
from ops.bench.bench import Bench
from ops.bench.crowds import Specs, mixed
from ops.bench.equality import require_equal, require_same_bytes
from ops.bench.figure import Figure, paired, percentile
from ops.bench.peers.static import StaticBatcher
from ops.bench.runs import Crowd, engine_of, image_of, one_at_a_time
from serve.engine.core import Model

LOAD = 0.9  # of the rate at which one at a time makes images
IMAGES = 40  # that differ; each arrives many times
QUEUED = 200_000  # arrivals at the computed queue
LEAD = 0.05  # seconds from the start of the clock to the earliest arrival


class Server(Protocol):
    """Takes images at any time."""

    def start(self) -> None:
        """Begin to work."""

    def submit(self, name: str, spec: ImageSpec, crowd: Crowd) -> None:
        """Accept an image; `crowd` is told of its end."""

    def stop(self) -> None:
        """End the work."""


class Continuous:
    """The engine as a `Server`."""

    def __init__(self, model: Model) -> None:
        self._engine = engine_of(model)
        self.start, self.stop = self._engine.start, self._engine.stop

    def submit(self, name: str, spec: ImageSpec, crowd: Crowd) -> None:
        """Accept an image."""
        self._engine.submit(image_of(name, spec), crowd)


@dataclass(frozen=True, slots=True)
class Alone:
    """What each image takes and comes to when it is made by itself."""

    seconds: dict[str, float]
    pictures: dict[str, object]

    @property
    def mean(self) -> float:
        """The solo time, in seconds."""
        return statistics.mean(self.seconds.values())

    def arrivals(self, seed: int) -> Iterator[tuple[float, str]]:
        """At nine tenths of the rate at which these can be made."""
        return arrivals(list(self.seconds), self.mean / LOAD, seed)


def measure(bench: Bench) -> list[Figure]:
    """In each round all see the same arrivals, and its 99th percentiles are compared; medians of the rounds."""
    model = bench.model(bench.tiny)
    require_same_bytes(model, bench.tiny)
    grid = tune(bench)
    largest, wait = min(grid, key=lambda cell: grid[cell])
    solo: list[float] = []
    p99: dict[str, list[float]] = {"one at a time": [], "static": [], "engine": []}
    p50: dict[str, list[float]] = {name: [] for name in p99}
    for seed in range(1, bench.effort.rounds + 1):
        alone = one_by_one(bench)
        solo.append(alone.mean)
        queued = queue(islice(alone.arrivals(seed), QUEUED), alone.seconds)
        latencies = {
            "one at a time": [seconds / alone.mean for seconds in queued],
            "static": serve(static(bench, largest, wait * alone.mean), bench, alone, seed, bench.effort.arrivals),
            "engine": serve(Continuous(model), bench, alone, seed, bench.effort.arrivals),
        }
        for name, values in latencies.items():
            p50[name].append(percentile(values, 0.5))
            p99[name].append(percentile(values, 0.99))
    detail = {
        "load": LOAD,
        "solo_seconds": solo,
        "p99_solo_times": p99,
        "p50_solo_times": p50,
        "static_is": f"batch {largest}, wait {wait}",
        "static_grid_p99_solo_times": {f"batch {cell[0]}, wait {cell[1]}": value for cell, value in grid.items()},
    }
    ratios = {name: paired(values, p99["engine"]) for name, values in p99.items()}
    return [
        Figure("C3 static", "99th percentile: same-key static batching / engine", ratios["static"], 1.8),
        Figure("C3 queue", "the same: one at a time / engine", ratios["one at a time"], 8.0, detail=detail),
    ]


def tune(bench: Bench) -> dict[tuple[int, float], float]:
    """The static batcher's 99th percentile by largest batch (images) and wait, both latencies in solo times."""
    alone = one_by_one(bench)
    sizes, waits = bench.effort.grid
    count = bench.effort.tuning_arrivals
    return {
        (size, wait): percentile(serve(static(bench, size, wait * alone.mean), bench, alone, 0, count), 0.99)
        for size in sizes
        for wait in waits
    }


def images(bench: Bench) -> Specs:
    """Those that arrive, with new hints each time."""
    return mixed(bench.tiny, IMAGES, bench.effort.tail_steps)


def one_by_one(bench: Bench) -> Alone:
    """Make each image by itself."""
    runs = {name: one_at_a_time(bench.tiny, {name: spec}) for name, spec in images(bench).items()}
    return Alone({n: run.seconds for n, run in runs.items()}, {n: run.pictures[n] for n, run in runs.items()})


def static(bench: Bench, largest: int, wait: float) -> Server:
    """The batcher over the plain loop."""
    return StaticBatcher(lambda specs: generate(bench.tiny.pipeline, specs), largest, wait)


def serve(server: Server, bench: Bench, alone: Alone, seed: int, count: int) -> list[float]:
    """Latencies of `count` arrivals in solo times.

    Raises:
        Unequal: A picture is not the one that was made by itself.
    """
    due = list(islice(alone.arrivals(seed), count))
    crowd, seconds = replay(server, images(bench), due)
    require_equal(crowd.pictures, {f"{i}/{name}": alone.pictures[name] for i, (_, name) in enumerate(due)})
    return [one / alone.mean for one in seconds]


def arrivals(names: Sequence[str], interval: float, seed: int) -> Iterator[tuple[float, str]]:
    """A Poisson process without end: seconds, and which image comes then."""
    draw = random.Random(seed)
    at = 0.0
    while True:
        at += draw.expovariate(1 / interval)
        yield at, draw.choice(names)


def replay(server: Server, specs: Specs, due: Sequence[tuple[float, str]]) -> tuple[Crowd, list[float]]:
    """Let images arrive when they are due, whether or not the server keeps up.

    Returns:
        The pictures, by `number/name`, and the seconds from each due arrival to its picture.
    """
    crowd = Crowd()
    server.start()
    began = time.perf_counter() + LEAD
    for i, (at, name) in enumerate(due):
        time.sleep(max(0.0, began + at - time.perf_counter()))
        server.submit(f"{i}/{name}", specs[name], crowd)
    crowd.wait(len(due))
    server.stop()
    return crowd, [crowd.ended_at[f"{i}/{name}"] - began - at for i, (at, name) in enumerate(due)]


def queue(due: Iterator[tuple[float, str]], solo: dict[str, float]) -> Iterator[float]:
    """Seconds from arrival to picture where one at a time is made, first come first served."""
    free = 0.0
    for at, name in due:
        free = max(free, at) + solo[name]
        yield free - at
