"""The command line: `python -m ops.mutants [--seed N] [--count N] [--only PATH] -- <arguments of pytest>`."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Annotated

import typer
from rich.console import Console

from ops.mutants.places import Place, draw
from ops.mutants.trials import RedError, Selection, Trial, Verdict, copy_tree

ROOT = Path(__file__).parents[2]


def main(
    arguments: Annotated[list[str] | None, typer.Argument(help="Of pytest, after `--`: the selection.")] = None,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 1,
    count: Annotated[int, typer.Option(min=1, help="Mutants.")] = 50,
    only: Annotated[list[str] | None, typer.Option(help="Packages to mutate: controlnet and serve.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Mutants at a time.")] = 2,
    again: Annotated[bool, typer.Option(help="Doubt every answer: twice the time.")] = False,
    show: Annotated[bool, typer.Option(help="List the mutants, and run nothing.")] = False,
) -> None:
    """Draw mutants, run the tests that execute them, and print what was caught; exit with 1 where the tests fail."""
    console, drawn = Console(stderr=True, highlight=False), draw(ROOT, only or ["controlnet", "serve"], count, seed)
    if show:
        print("\n".join(f"{place.path}:{place.line} {place.operator}: {_diff(place)}" for place in drawn))
        return
    with tempfile.TemporaryDirectory(prefix="cn-mutants-") as folder:
        copies = [Path(folder) / str(number) for number in range(jobs)]
        copy_tree(ROOT, copies[0])
        try:
            selection = Selection(copies[0], arguments or [])
        except RedError as red:
            console.print(f"the selection fails without a mutant:\n{red}", markup=False)
            raise typer.Exit(1) from None
        console.print(f"{len(selection)} tests in {selection.seconds:.0f} s, under coverage")
        free: SimpleQueue[Trial] = SimpleQueue()
        for copy in copies:
            if copy != copies[0]:
                shutil.copytree(copies[0], copy)
            free.put(Trial(copy, selection))

        def judge(place: Place) -> Verdict:
            trial = free.get()
            try:
                verdict = trial.judge(place, again)
            finally:
                free.put(trial)
            console.print(f"{verdict.outcome}: {place.path}:{place.line} ({verdict.seconds:.0f} s)", markup=False)
            return verdict

        with ThreadPoolExecutor(jobs) as pool:
            verdicts = list(pool.map(judge, drawn))
    print(table(drawn, verdicts))


def table(drawn: Sequence[Place], verdicts: Sequence[Verdict]) -> str:
    """A line a mutant, then the ratio with its interval."""
    lines = ["| | outcome | operator | place | mutant | tests | by | s |", "|---|---|---|---|---|---|---|---|"]
    for number, (place, verdict) in enumerate(zip(drawn, verdicts, strict=True), 1):
        cells = (place.operator, f"{place.path}:{place.line}", _diff(place), verdict.tests, verdict.by or "-")
        shown = " | ".join(str(cell).replace("|", "\\|") for cell in cells)
        lines.append(f"| {number} | {verdict.outcome} | {shown} | {verdict.seconds:.0f} |")
    caught, count = sum(verdict.caught for verdict in verdicts), len(verdicts)
    low, high = wilson(caught, count)
    return "\n".join([*lines, "", f"{caught} of {count} caught: {caught / count:.0%} (95 %: {low:.0%} to {high:.0%})"])


def wilson(hits: int, count: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's score interval of a proportion (Wilson 1927), 95 % by default."""
    share, spread = hits / count, z * z / count
    half = z * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    return (share + spread / 2 - half) / (1 + spread), (share + spread / 2 + half) / (1 + spread)


def _diff(place: Place) -> str:
    before, after = place.diff((ROOT / place.path).read_bytes())
    return f"`{before}` -> `{after}`"


if __name__ == "__main__":
    typer.run(main)
