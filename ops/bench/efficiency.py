"""C8: what is left of the engine's speed when a picture comes in and goes out over HTTP, and what one image waits more.

The platform and a process with the engine alone take turns, each idle while the other works. Through the platform go
requests with a picture each; the engine is given their maps. Same images, same threads, pictures compared.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence

import httpx
import torch

from ops.bench.bench import Bench
from ops.bench.bodies import bodies
from ops.bench.client import Outcome, Request, Server, send
from ops.bench.equality import require_equal
from ops.bench.figure import Figure, paired, percentile
from ops.bench.peers.engine import EngineProcess
from ops.bench.platform import Platform, platform
from ops.bench.processor import seconds as processor_seconds
from ops.bench.processor import spent
from ops.bench.table import Table

WARM_UP = 3  # single images
PHASES = "queued", "preparing", "sampling", "publishing"
ENGINE, CLIENT = "the engine alone", "the client"


def measure(bench: Bench) -> list[Figure | Table]:
    """Two figures and where the processor's time went."""
    threads = torch.get_num_threads()
    with platform(threads) as measured, EngineProcess(threads) as engine:
        single = one_by_one(bench, measured.server, engine)
        backlog, table = backlogs(bench, measured, engine)
    return [backlog, single, table]


def one_by_one(bench: Bench, server: Server, engine: EngineProcess) -> Figure:
    """One image of the default step count at a time, over HTTP and alone in turns."""
    steps, count = bench.effort.steps, bench.effort.singles
    theirs: list[float] = []
    ours: list[float] = []
    phases: list[Mapping[str, float]] = []
    apart = 0
    for name, body in bodies(bench.demo, WARM_UP + count, (steps,)).items():
        outcome = send(server, [Request(name, body)])[0]
        made = engine.make("together", {name: body})
        apart = max(apart, require_equal({name: outcome.picture}, made.pictures))
        if int(name) >= WARM_UP:
            ours.append(1000 * outcome.seconds)
            theirs.append(1000 * made.total)
            phases.append(timings(server, outcome))
    added = [a - b for a, b in zip(ours, theirs, strict=True)]
    return Figure(
        "C8 latency",
        f"ms at p50 that the platform adds to one image of {steps} steps",
        statistics.median(added),
        target=15.0,
        at_most=True,
        detail={
            "images": count,
            "platform p50 ms": statistics.median(ours),
            "engine p50 ms": statistics.median(theirs),
            "added p90 ms": percentile(added, 0.9),
            "job's phases p50 ms": {p: 1000 * statistics.median(each[p] for each in phases) for p in PHASES},
            "levels_apart": apart,
        },
    )


def backlogs(bench: Bench, measured: Platform, engine: EngineProcess) -> tuple[Figure, Table]:
    """Many requests at once, over HTTP and alone in turns."""
    effort = bench.effort
    asked = bodies(bench.demo, effort.served, (effort.steps,))
    ours: list[float] = []
    theirs: list[float] = []
    busy: list[Mapping[str, float]] = []
    idle: list[Mapping[str, float]] = []
    apart = 0
    for _ in range(effort.rounds):
        looks = [_look(measured, engine)]
        outcomes = send(measured.server, [Request(name, body) for name, body in asked.items()])
        looks.append(_look(measured, engine))
        made = engine.make("together", asked)
        looks.append(_look(measured, engine))
        ours.append(effort.served / max(outcome.seconds for outcome in outcomes))
        theirs.append(effort.served / made.total)
        busy.append(spent(looks[0], looks[1]))
        idle.append(spent(looks[1], looks[2]))
        pictures = {outcome.request.name: outcome.picture for outcome in outcomes}
        apart = max(apart, require_equal(pictures, made.pictures))
    figure = Figure(
        "C8",
        f"a backlog of {effort.served} images of {effort.steps} steps: over HTTP / the engine alone, images a second",
        paired(ours, theirs),
        target=0.85,
        detail={
            "images_per_second": statistics.median(ours),
            "engine_images_per_second": statistics.median(theirs),
            "ratios": [a / b for a, b in zip(ours, theirs, strict=True)],
            "threads": torch.get_num_threads(),
            "levels_apart": apart,
        },
    )
    return figure, accounts(busy, idle, effort.served)


def accounts(busy: Sequence[Mapping[str, float]], idle: Sequence[Mapping[str, float]], images: int) -> Table:
    """Processor seconds of an image by role, in the platform's turns and in the engine's, the most first.

    Args:
        busy: Processor seconds of each of the platform's turns.
        idle: Those of each of the engine's turns.
        images: Of each turn.
    """
    theirs = {role: sum(one[role] for one in idle) / len(idle) / images for role in idle[0]}
    ours = {role: sum(one[role] for one in busy) / len(busy) / images for role in busy[0]}
    rows: list[list[str | float]] = [
        [role, 1000 * ours[role], 1000 * theirs[role]] for role in sorted(ours, key=lambda role: -ours[role])
    ]
    rows.append(["together", 1000 * sum(ours.values()), 1000 * sum(theirs.values())])
    return Table(
        "Where the processor's time goes: ms an image", ["process", "platform's turn", "the engine's turn"], rows
    )


def _look(measured: Platform, engine: EngineProcess) -> dict[str, float]:
    others = processor_seconds({engine.pid: ENGINE}) | {CLIENT: time.process_time()}
    return measured.processor_seconds() | others


def timings(server: Server, outcome: Outcome) -> Mapping[str, float]:
    """Seconds of a job's phases as the platform counts them."""
    answer = httpx.get(f"{server.url}{outcome.location}", headers=server.headers)
    found: Mapping[str, float] = answer.raise_for_status().json()["timings"]
    return found
