"""The command line: `python -m ops.scaling [--grid] [--record] [--plot docs/images/scaling.png]`."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ops.bench.report import now, stamp, typed

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of pydantic, about Ray's own models
    from ops.scaling.policies import Always, ByRequests, ByWork, Delayed, Policy

from ops.scaling.simulation import PACE, Outcome, simulate
from ops.scaling.trace import HOURS, trace

RESULTS = Path(__file__).parents[1] / "bench" / "RESULTS.md"
MOST = 8
TUNED_ON, SHOWN_ON = (0, 1, 2), (3, 4, 5)
GOALS = (0.90, 0.95, 0.99)
DOWN = (30.0, 60.0, 120.0, 300.0, 600.0)

Setting = tuple[tuple[str, float], ...]

UNTUNED: Mapping[str, Setting] = {
    "work": (("clear_within", 60.0), ("down", 300.0)),
    "requests": (("each", 2.0), ("up", 30.0), ("down", 600.0)),
}
"""Ours (`serve.config`) and Ray's defaults."""


@dataclass(frozen=True)
class Point:
    """A setting of a policy, over some traces."""

    setting: Setting
    gpu_hours: float
    attainment: float
    p50: float
    p99: float
    starts: int


def by_work(setting: Setting) -> Policy:
    """The shipped decision."""
    value = dict(setting)
    return ByWork(PACE, value["clear_within"], Delayed(MOST, 0.0, value["down"]))


def by_requests(setting: Setting) -> Policy:
    """Ray's own."""
    value = dict(setting)
    return ByRequests(value["each"], Delayed(MOST, value["up"], value["down"]))


def always(setting: Setting) -> Policy:
    """A fixed number."""
    return Always(int(dict(setting)["replicas"]))


GRIDS: Mapping[str, tuple[Callable[[Setting], Policy], Mapping[str, Sequence[float]]]] = {
    "work": (by_work, {"clear_within": (10, 20, 40, 60, 90, 120), "down": DOWN}),
    "requests": (by_requests, {"each": (1, 2, 4, 8, 16, 32), "up": (0, 30), "down": DOWN}),
    "fixed": (always, {"replicas": range(1, MOST + 1)}),
}


def settings(grid: Mapping[str, Sequence[float]]) -> list[Setting]:
    """Every combination."""
    return [tuple(zip(grid, map(float, values), strict=True)) for values in product(*grid.values())]


def measure(make: Callable[[Setting], Policy], seeds: Sequence[int], setting: Setting) -> Point:
    """A setting over these traces, one after the other."""
    outcomes = [simulate(trace(seed), make(setting)) for seed in seeds]
    together = Outcome(
        gpu_hours=sum(outcome.gpu_hours for outcome in outcomes),
        latencies=[latency for outcome in outcomes for latency in outcome.latencies],
        met=sum(outcome.met for outcome in outcomes),
        starts=sum(outcome.starts for outcome in outcomes),
    )
    hours, p50, p99 = together.gpu_hours, together.latency(0.5), together.latency(0.99)
    return Point(setting, hours, together.attainment, p50, p99, together.starts)


def cheapest(points: Iterable[Point], goal: float) -> Point | None:
    """Of those that reach the goal."""
    good = [point for point in points if point.attainment >= goal]
    return min(good, key=lambda point: point.gpu_hours, default=None)


def named(setting: Setting) -> str:
    """For people."""
    return ", ".join(f"{name} {value:g}" for name, value in setting)


def main(
    grid: Annotated[bool, typer.Option(help="Print every setting of the grids, too.")] = False,
    record: Annotated[bool, typer.Option(help="Add a section to ops/bench/RESULTS.md.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw cost against attainment into this file.")] = None,
) -> None:
    """Tune each policy on three traces, then show what it does on three others."""
    console, began = Console(stderr=True), now()
    tuned: dict[str, list[Point]] = {}
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for name, (make, axes) in GRIDS.items():
            with console.status(name):
                tuned[name] = list(pool.map(partial(measure, make, TUNED_ON), settings(axes)))
        chosen = {(name, goal): cheapest(points, goal) for name, points in tuned.items() for goal in GOALS}
        shown = {
            key: pool.submit(measure, GRIDS[key[0]][0], SHOWN_ON, point.setting)
            for key, point in chosen.items()
            if point is not None
        }
        defaults = {name: pool.submit(measure, GRIDS[name][0], SHOWN_ON, setting) for name, setting in UNTUNED.items()}
        found = {key: future.result() for key, future in shown.items()}
        text = table(found, {name: future.result() for name, future in defaults.items()})
    print(text)
    if grid:
        print("\n" + "\n".join(whole(name, points) for name, points in tuned.items()))
    if plot is not None:
        draw(tuned, plot)
    if record:
        with RESULTS.open("a") as file:
            command = typed("ops.scaling", sys.argv[1:])
            file.write(f"\n## Samplers by work or by requests, {stamp(began)}\n\n`{command}`\n\n{text}\n")


def table(found: Mapping[tuple[str, float], Point], defaults: Mapping[str, Point]) -> str:
    """Markdown: what reached a goal most cheaply on the tuning traces, and what it did on the others."""
    lines = [
        f"{len(SHOWN_ON)} traces of {HOURS} hours, tuned on {len(TUNED_ON)} others; at most {MOST} replicas.",
        "",
        "| tuned for | policy | setting | GPU-hours | in time | p50 s | p99 s | starts |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for goal, name in product(GOALS, GRIDS):
        point = found.get((name, goal))
        if point is None:
            lines.append(f"| {goal:.0%} | {name} | none reaches it | | | | | |")
        else:
            lines.append(f"| {goal:.0%} | {name} | {_row(point)}")
    return "\n".join([*lines, *(f"| defaults | {name} | {_row(point)}" for name, point in defaults.items())])


def _row(point: Point) -> str:
    return (
        f"{named(point.setting)} | {point.gpu_hours:.1f} | {point.attainment:.1%} | {point.p50:.0f} | "
        f"{point.p99:.0f} | {point.starts} |"
    )


def whole(name: str, points: Sequence[Point]) -> str:
    """Every setting of a grid."""
    rows = [f"| {named(p.setting)} | {p.gpu_hours:.1f} | {p.attainment:.1%} | {p.p99:.0f} |" for p in points]
    return "\n".join([f"### {name}", "", "| setting | GPU-hours | in time | p99 s |", "|---|---|---|---|", *rows, ""])


def draw(tuned: Mapping[str, Sequence[Point]], file: Path) -> None:
    """Every setting as a point: to the left is cheaper, up is better."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for name, points in tuned.items():
        axes.scatter([p.gpu_hours for p in points], [100 * p.attainment for p in points], s=14, label=name)
    axes.set(xlabel="GPU-hours", ylabel="jobs in time, %", xscale="log")
    axes.set_xticks(ticks := [25, 50, 100, 200, 300], [f"{tick}" for tick in ticks], minor=False)
    axes.set_xticks([], minor=True)
    axes.legend(title="samplers by")
    axes.grid(alpha=0.3)
    figure.savefig(file, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    typer.run(main)
