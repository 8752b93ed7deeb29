"""The command line: `python -m ops.fairness [--jobs N] [--record]`."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import sqlalchemy as sa
import typer
from rich.console import Console

from ops.bench.figure import Figure
from ops.bench.report import now, stamp, typed
from ops.fairness.goals import MakeLine, measure
from ops.fairness.lines import Line, PlainLine, StoreLine
from ops.fairness.service import crowd, light_tail, teams
from ops.fairness.simulation import PACE, Clock
from ops.faults.rig import Rig
from ops.services import Missing, Postgres
from serve.jobs.database import durable, open_database
from serve.jobs.schema import metadata

RESULTS = Path(__file__).parents[1] / "bench" / "RESULTS.md"


def main(
    jobs: Annotated[int, typer.Option(min=10, help="Of the light team; 17 times as many in its run.")] = 300,
    record: Annotated[bool, typer.Option(help="Add a section to ops/bench/RESULTS.md.")] = False,
    service: Annotated[bool, typer.Option(help="Start the platform too, and measure it (10 minutes).")] = False,
) -> None:
    """Simulate the goals over dictionaries and over the store on both databases; exit with 1 where one is missed."""
    console, began = Console(stderr=True), now()
    columns: dict[str, Sequence[Figure]] = {}
    with ExitStack() as stack:
        for name, make in lines(stack).items():
            clock = time.perf_counter()
            with console.status(name):
                columns[name] = tuple(measure(make, jobs))
            console.print(f"{name}: {time.perf_counter() - clock:.0f} s")
    text = table(columns)
    if service:
        columns["service"], accounts = running()
        (tail,) = columns["service"]
        text += (
            f"\n\n{tail.title}: {tail.value:.2f} (at most {tail.target:g}); {dict(tail.detail)}\n\n8 teams: {accounts}"
        )
    print(text)
    if record:
        with RESULTS.open("a") as file:
            file.write(f"\n## Fair order, {stamp(began)}\n\n`{typed('ops.fairness', sys.argv[1:])}`\n\n{text}\n")
    raise typer.Exit(1 if any(figure.met is False for column in columns.values() for figure in column) else 0)


def lines(stack: ExitStack) -> Mapping[str, MakeLine]:
    """Where jobs may wait; PostgreSQL only where it is installed."""
    made: dict[str, MakeLine] = {"policy": lambda clock, weights: PlainLine(clock, PACE, weights)}
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="cn-fairness-"))
    made["sqlite"] = _store(stack.enter_context(_opened(f"sqlite:///{folder}/jobs.db")))
    try:
        server = stack.enter_context(Postgres())
    except Missing as why:
        print(f"without PostgreSQL: {why}")
    else:
        made["postgresql"] = _store(stack.enter_context(_opened(server.url())))
    return made


def running() -> tuple[Sequence[Figure], dict[str, int]]:
    """The tail on the running platform, and what the books say after 8 teams had 200 small jobs each."""
    with (
        tempfile.TemporaryDirectory(prefix="cn-fairness-") as folder,
        Rig(Path(folder)) as rig,
        teams(rig.database_url) as found,
    ):
        return (light_tail(found, seats=8, seconds=60),), dict(crowd(found, tenants=8, each=200))


def table(columns: Mapping[str, Sequence[Figure]]) -> str:
    """Markdown: a goal a row, a line a column."""
    rows = [
        f"| | target | {' | '.join(columns)} |",
        f"|---|---|{'---|' * len(columns)}",
    ]
    for goal in zip(*columns.values(), strict=True):
        sign = "<=" if goal[0].at_most else ">="
        values = " | ".join(f"{figure.value:.3f}{'' if figure.met else ' (missed)'}" for figure in goal)
        rows.append(f"| {goal[0].name} {goal[0].title} | {sign} {goal[0].target:g} | {values} |")
    return "\n".join(rows)


@contextmanager
def _opened(url: str) -> Iterator[sa.Engine]:
    engine = open_database(url)
    try:
        yield engine
    finally:
        engine.dispose()


def _store(engine: sa.Engine) -> MakeLine:
    def make(clock: Clock, weights: Mapping[str, float]) -> Line:
        with durable(engine).begin() as connection:
            for each in reversed(metadata.sorted_tables):
                connection.execute(sa.delete(each))
        return StoreLine(engine, clock, PACE, weights)

    return make


if __name__ == "__main__":
    typer.run(main)
