"""The command line: `python -m ops.bench [figures] [--quick] [--record]`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from ops.bench import (
    capacity,
    durability,
    efficiency,
    join,
    mixture,
    neighbours,
    profile,
    redundancy,
    serving,
    single,
    tail,
    variants,
)
from ops.bench.bench import Bench
from ops.bench.effort import FULL, QUICK
from ops.bench.equality import Unequal
from ops.bench.figure import Figure
from ops.bench.report import Report, now, record, typed
from ops.bench.subjects import demo, tiny
from ops.bench.table import Table
from ops.bench.threads import alone

HISTORY = Path(__file__).with_name("RESULTS.md")

MEASURES: dict[str, Callable[[Bench], Sequence[Figure | Table]]] = {
    "c1": capacity.measure,
    "c2": mixture.measure,
    "c3": tail.measure,
    "c4": join.measure,
    "c7": redundancy.measure,
    "c9": single.measure,
    "profile": profile.measure,
    "variants": variants.measure,
    "compile": variants.compiled,
    "durability": durability.measure,
    "busy": neighbours.measure,
    "c8": efficiency.measure,
    "serving": serving.measure,
}
APART = {"compile", "durability", "busy", "c8", "serving"}
"""Only where they are asked for by name: one fails often, one keeps the machine busy, the others start the platform."""


def main(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help=f"Of {', '.join(MEASURES)}; all but those that fail often or start the platform, when none is named."
        ),
    ] = None,
    quick: Annotated[bool, typer.Option(help="Smaller runs, fewer rounds.")] = False,
    threads: Annotated[int, typer.Option(min=1, help="Of torch.")] = 2,
    json: Annotated[Path, typer.Option(help="Where everything is written.")] = Path("data/bench/latest.json"),
    add: Annotated[bool, typer.Option("--record", help="Add a section to RESULTS.md.")] = False,
    note: Annotated[str, typer.Option(help="What a reader of that section must know of the machine.")] = "",
) -> None:
    """Measure the engine and the pipeline; exit with 1 where a score is refused."""
    if unknown := set(names or ()) - set(MEASURES):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: choose from {', '.join(MEASURES)}")
    torch.set_num_threads(threads)
    began, load, clock = now(), os.getloadavg()[0], time.perf_counter()
    console = Console()
    bench = alone(lambda: Bench(QUICK if quick else FULL, tiny(), demo()))
    results: list[Figure | Table] = []
    for name in names or [name for name in MEASURES if name not in APART]:
        with console.status(name):
            results += alone(partial(measured, name, bench))
    command = typed("ops.bench", sys.argv[1:])
    report = Report(command, began, load, (time.perf_counter() - clock) / 60, results, note)
    report.print(console)
    json.parent.mkdir(parents=True, exist_ok=True)
    json.write_text(report.to_json())
    if add:
        record(report, HISTORY)
    raise typer.Exit(1 if any(figure.refused for figure in report.figures) else 0)


def measured(name: str, bench: Bench) -> Sequence[Figure | Table]:
    """The results of one measure, or its refusal."""
    try:
        return MEASURES[name](bench)
    except Unequal as why:
        return [Figure(name.upper(), "refused: the pictures are wrong", None, None, refused=str(why))]


if __name__ == "__main__":
    typer.run(main)
