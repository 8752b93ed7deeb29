"""`python -m ops.faults`: run the campaigns and print the books."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal, get_args

import typer
from rich.console import Console
from rich.table import Table

from ops.faults.faults import FAULTS
from ops.faults.run import Campaign, Database, run

console = Console()


def main(
    jobs: Annotated[int, typer.Option(min=1, help="Jobs to have accepted, on each database.")] = 500,
    kills: Annotated[int, typer.Option(min=0, help="Faults, on each database.")] = 20,
    database: Annotated[Literal["sqlite", "postgresql", "both"], typer.Option()] = "both",
    report: Annotated[Path | None, typer.Option("--json", help="Where the books go as JSON.")] = None,
) -> None:
    """Keep a platform busy, kill its processes, and check that nothing was lost and nothing done twice."""
    campaigns: list[Campaign] = []
    databases: tuple[Database, ...] = get_args(Database) if database == "both" else (database,)
    for name in databases:
        console.print(f"[bold]{name}[/]: {jobs} jobs, {kills} faults")
        with tempfile.TemporaryDirectory(prefix="cn-faults-") as folder:
            campaigns.append(run(Path(folder), name, jobs, kills, FAULTS, console.print))
        show(campaigns[-1])
        if report is not None:  # as each ends: the next may not
            report.parent.mkdir(parents=True, exist_ok=True)
            report.write_text(json.dumps([asdict(campaign) for campaign in campaigns], indent=2) + "\n")
    if not all(campaign.clean for campaign in campaigns):
        raise typer.Exit(1)


def show(campaign: Campaign) -> None:
    """Print the books, and how long each kind of fault took to get over."""
    found = campaign.audit
    wrong = {
        "refused": campaign.refused,
        "failed": found.failed,
        "lost": found.lost,
        "doubled": found.doubled,
        "unpaid": found.unpaid,
    }
    counts = {
        "accepted": found.accepted,
        "done": found.done,
        **{name: len(lines) for name, lines in wrong.items()},
        "attempts": found.attempts,
        "repeated calls": found.repeats,
    }
    books = Table("jobs", "", title=f"{campaign.database}, {campaign.seconds / 60:.1f} minutes")
    for name, count in counts.items():
        books.add_row(name, str(count))
    console.print(books)
    times = Table("fault", "times", "at its moment", "recovery, median s", "longest s", title=campaign.database)
    by_kind = defaultdict(list)
    for outcome in campaign.outcomes:
        by_kind[outcome.fault.kind].append(outcome)
    for kind, outcomes in sorted(by_kind.items()):
        seconds = [outcome.recovery_s for outcome in outcomes]
        hits = sum(outcome.hit for outcome in outcomes)
        median, longest = f"{statistics.median(seconds):.1f}", f"{max(seconds):.1f}"
        times.add_row(kind, str(len(outcomes)), str(hits), median, longest)
    console.print(times)
    for name, lines in wrong.items():
        for line in lines:
            console.print(f"{name}: {line}", style="red", markup=False)


if __name__ == "__main__":
    typer.run(main)
