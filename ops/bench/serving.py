"""C6 over HTTP: the platform, the first demo's shape and a plain Ray Serve app, each under the same arrivals.

Poisson arrivals of images that differ in everything, of two paces each below what one at a time can make and above
what the engine can. Latency counts from when a request was due. An image's limit is three times what it takes in a
full batch; above capacity nobody wants a picture after it: clients hang up then, whoever serves them, and the platform
is told in `deadline_s`, so that it may refuse. One server runs at a time, so that none pays for another's idling.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass

import httpx
import torch

from ops.bench.bench import Bench
from ops.bench.bodies import Body, bodies
from ops.bench.client import Outcome, Request, Server, send
from ops.bench.equality import require_equal
from ops.bench.figure import Figure
from ops.bench.goodput import Score, in_time, score
from ops.bench.peers import process
from ops.bench.peers.batched import Tuning
from ops.bench.peers.engine import EngineProcess
from ops.bench.platform import platform
from ops.bench.table import Table
from ops.bench.tail import arrivals

FULL_BATCH = 8  # images, of two rows each
LIMIT = 3.0  # times what an image takes in a full batch
FEWEST = 8  # arrivals that are counted
PATIENCE = 60.0  # seconds that a client waits where a late picture is welcome
BELOW, ABOVE = (0.6, 0.9), (1.3, 2.0)
TARGETS: Mapping[float, float | None] = {1.3: 0.62, 2.0: 0.35}
TUNED_AT = 1.3  # of the engine's capacity

TITLE = "The same arrivals for all"
COLUMNS = [
    *("server", "load", "images a second", "arrivals", "in time", "p50 s", "p99 s"),
    *("refused", "given up", "hung up", "failed"),
]
LENGTHS_TITLE = "In time, by an image's length"
DRIFT = "the same backlog before each server, seconds"
GRID_COLUMNS = ["may share a batch, images, wait", "in time", "p50 s"]
GRID_TITLE = f"How `@serve.batch` was tuned, at {TUNED_AT:g} of the engine's capacity"


@dataclass(frozen=True, slots=True)
class Load:
    """Arrivals of one pace.

    Attributes:
        title: For the table.
        times: Of the capacity that it is told in.
        rate: Images a second.
        late: Whether a picture is worth as much after its limit.
    """

    title: str
    times: float
    rate: float
    late: bool


@dataclass(frozen=True, slots=True)
class Crowd:
    """What arrives, and what is known of it.

    Attributes:
        asked: Bodies by name.
        pictures: As made one at a time.
        alone: Seconds that each takes by itself.
        limits: Seconds that each may take.
        capacity: Images a second of the engine alone.
    """

    asked: Mapping[str, Body]
    pictures: Mapping[str, object]
    alone: Mapping[str, float]
    limits: Mapping[str, float]
    capacity: float

    @property
    def solo(self) -> float:
        """Mean seconds of one image by itself."""
        return statistics.mean(self.alone.values())

    @property
    def loads(self) -> list[Load]:
        """Two below what one at a time can make, two above what the engine can."""
        return [Load(f"{times:g} of one at a time", times, times / self.solo, late=True) for times in BELOW] + [
            Load(f"{times:g} of the engine", times, times * self.capacity, late=False) for times in ABOVE
        ]

    @property
    def lengths(self) -> list[int]:
        """Steps that images have."""
        return sorted({body["steps"] for body in self.asked.values()})

    def arriving(self, load: Load, seconds: float, lead_in: float = 0.0) -> list[Request]:
        """The same for every server: for so many seconds, on a slow machine longer, until there are a few to count."""
        requests: list[Request] = []
        counted = 0
        for at, name in arrivals(list(self.asked), 1 / load.rate, seed=round(10 * load.times)):
            if at >= lead_in + seconds and counted >= FEWEST:
                break
            counted += at >= lead_in
            patience = PATIENCE if load.late else self.limits[name]
            requests.append(Request(name, self.asked[name], at, patience, load.late))
        return requests


def measure(bench: Bench) -> list[Figure | Table]:
    """The platform's goodput above capacity, all scores, and how the batching peer was tuned."""
    threads = torch.get_num_threads()
    scores: list[tuple[str, Load, Score]] = []
    lengths: list[list[str | float]] = []
    with EngineProcess(threads) as engine:
        crowd = meet(bench, engine)
        drift = Drift(engine, crowd)
        grid = Table(GRID_TITLE, GRID_COLUMNS, [])
        for name, opened in servers(threads).items():
            drift.look(name)
            with opened as server:
                probe(server, crowd)
                if name == "serve.batch":
                    grid = tune(bench, server, crowd)
                for load in crowd.loads:
                    outcomes = under(server, crowd, load, bench)
                    scores.append((name, load, score(outcomes, crowd.limits)))
                    lengths.append([name, load.title, *by_length(outcomes, crowd)])
    detail: dict[str, object] = {
        "one at a time, images a second": 1 / crowd.solo,
        "engine, images a second": crowd.capacity,
        "limits s, by steps": {str(crowd.asked[n]["steps"]): limit for n, limit in crowd.limits.items()},
        "threads": threads,
        DRIFT: drift.seconds,
    }
    figures = [
        Figure(
            f"C6 served {load.times:g}x",
            f"pictures in time / offered at {load.times:g} of the engine's capacity, over HTTP",
            one.goodput,
            TARGETS[load.times],
            detail=detail | {"score": asdict(one)},
        )
        for name, load, one in scores
        if name == "platform" and not load.late
    ]
    columns = ["server", "load", *(f"{steps} steps" for steps in crowd.lengths), "of the work"]
    rows = [row for load in crowd.loads for row in lengths if row[1] == load.title]
    return [*figures, table(scores), Table(LENGTHS_TITLE, columns, rows), grid]


def servers(threads: int) -> dict[str, AbstractContextManager[Server]]:
    """By name, not started."""
    return {
        "platform": _platform(threads),
        "one at a time": _peer("one at a time", process.locked, threads),
        "serve.batch": _peer("serve.batch", process.batched, threads),
    }


def meet(bench: Bench, engine: EngineProcess) -> Crowd:
    """What the images take alone and in full batches, and what they come to."""
    asked = bodies(bench.demo, bench.effort.crowd, bench.effort.tail_steps)
    alone = engine.make("one at a time", asked)
    by_steps: dict[int, list[str]] = defaultdict(list)
    for name, body in asked.items():
        by_steps[body["steps"]].append(name)
    full = {}
    for steps, names in by_steps.items():
        batch = {str(i): asked[names[i % len(names)]] for i in range(FULL_BATCH)}
        full[steps] = engine.make("together", batch).total
    rates = []
    for _ in range(2):
        backlog = engine.make("together", asked)
        require_equal(backlog.pictures, alone.pictures)
        rates.append(len(asked) / backlog.total)
    limits = {name: LIMIT * full[body["steps"]] for name, body in asked.items()}
    return Crowd(asked, alone.pictures, alone.seconds, limits, statistics.mean(rates))


class Drift:
    """Whether the machine is what it was: the same backlog again and again.

    Args:
        engine: That makes it.
        crowd: To take it from.
    """

    def __init__(self, engine: EngineProcess, crowd: Crowd) -> None:
        self._engine = engine
        self._backlog = dict(list(crowd.asked.items())[:FULL_BATCH])
        self.seconds: dict[str, float] = {}

    def look(self, before: str) -> None:
        """Note how long it takes now."""
        self.seconds[before] = self._engine.make("together", self._backlog).total


def probe(server: Server, crowd: Crowd) -> None:
    """Every shape once, alone: the pictures are those of one at a time, and nothing is done for the first time later.

    Raises:
        Unequal: They are not.
    """
    for name in list(crowd.asked)[: len(crowd.lengths)]:
        check(send(server, [Request(name, crowd.asked[name])]), crowd)


def check(outcomes: Sequence[Outcome], crowd: Crowd, every: bool = True) -> None:
    """Compare the pictures with those of one at a time.

    Args:
        outcomes: Of requests.
        crowd: Has the pictures.
        every: Whether each must have one.

    Raises:
        Unequal: One differs, or is missing.
    """
    held = {f"{i}": one for i, one in enumerate(outcomes) if every or one.status == httpx.codes.OK}
    expected = {i: crowd.pictures[one.request.name] for i, one in held.items()}
    require_equal({i: one.picture for i, one in held.items()}, expected)


def under(server: Server, crowd: Crowd, load: Load, bench: Bench) -> list[Outcome]:
    """One server under one load: what counts. The arrivals of the beginning are sent, too."""
    lead_in = bench.effort.lead_in
    outcomes = send(server, crowd.arriving(load, bench.effort.load, lead_in))
    probe(server, crowd)  # what clients left behind is over
    check(outcomes, crowd, every=False)
    return [one for one in outcomes if one.request.at >= lead_in]


def by_length(outcomes: Sequence[Outcome], crowd: Crowd) -> list[float]:
    """In time of offered: images of each length, then the steps of all images together."""
    offered, met = Counter[int](), Counter[int]()
    for one in outcomes:
        steps = crowd.asked[one.request.name]["steps"]
        offered[steps] += 1
        met[steps] += in_time(one, crowd.limits)
    work = [sum(steps * count for steps, count in counts.items()) for counts in (met, offered)]
    return [*(met[steps] / max(1, offered[steps]) for steps in crowd.lengths), work[0] / work[1]]


def tune(bench: Bench, server: Server, crowd: Crowd) -> Table:
    """Try the grid, and set what had most pictures in time; where two have as many, the faster."""
    modes, sizes, waits = bench.effort.batches
    load = next(one for one in crowd.loads if not one.late and one.times == TUNED_AT)
    found: dict[Tuning, Score] = {}
    for tuning in [Tuning(mode, size, wait * crowd.solo) for mode in modes for size in sizes for wait in waits]:
        set_tuning(server, tuning)
        found[tuning] = score(send(server, crowd.arriving(load, bench.effort.tuning)), crowd.limits)
        probe(server, crowd)
    best = max(found, key=lambda one: (found[one].goodput, -(found[one].p50 or 0.0)))
    set_tuning(server, best)
    rows: list[list[str | float]] = [
        [one.title + (" (taken)" if one is best else ""), of.goodput, "" if of.p50 is None else of.p50]
        for one, of in found.items()
    ]
    return Table(GRID_TITLE, GRID_COLUMNS, rows)


def set_tuning(server: Server, tuning: Tuning) -> None:
    """Of the batching peer, from now on."""
    httpx.post(f"{server.url}/tuning", json=asdict(tuning)).raise_for_status()


def table(scores: Sequence[tuple[str, Load, Score]]) -> Table:
    """A load and a server a row."""
    rows: list[list[str | float]] = []
    for load in dict.fromkeys(load for _, load, _ in scores):
        for name, of, one in scores:
            if of == load:
                times = ["" if seconds is None else seconds for seconds in (one.p50, one.p99)]
                counts = [one.refused, one.given_up, one.hung_up, one.failed]
                rows.append([name, load.title, load.rate, one.offered, one.goodput, *times, *counts])
    return Table(TITLE, COLUMNS, rows)


@contextmanager
def _platform(threads: int) -> Iterator[Server]:
    with platform(threads) as measured:
        yield measured.server


@contextmanager
def _peer(name: str, opened: Callable[[int], AbstractContextManager[str]], threads: int) -> Iterator[Server]:
    with opened(threads) as url:
        yield Server(name, url)
