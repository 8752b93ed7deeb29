"""`python -m ops.faults`: run campaigns and print what came of them."""

from __future__ import annotations

import secrets
import statistics
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Annotated, Literal, get_args

import typer
from pydantic import TypeAdapter
from rich.console import Console
from rich.table import Table

from ops.faults.blows import Database, Strike, severe
from ops.faults.checker import Rule
from ops.faults.draw import Planned, draw
from ops.faults.rig import ROOT
from ops.faults.run import Campaign, run

console = Console()

CAMPAIGNS = TypeAdapter(list[Campaign])


def main(
    blows: Annotated[int, typer.Option(min=0, help="Blows of a campaign, at least.")] = 16,
    seed: Annotated[int | None, typer.Option(help="Of blows and clients; a new one when absent.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Campaigns of consecutive seeds; ten have everything.")] = 1,
    hours: Annotated[
        float | None, typer.Option(min=0, help="As many campaigns of consecutive seeds as begin in so long.")
    ] = None,
    calm: Annotated[float, typer.Option(min=0, help="Seconds more between two blows: more jobs for each.")] = 0.0,
    database: Annotated[Literal["sqlite", "postgresql", "both"], typer.Option()] = "both",
    disk: Annotated[bool, typer.Option(help="Give the platform a disk of its own, for power cuts.")] = True,
    blobs: Annotated[bool, typer.Option(help="Beside PostgreSQL, keep artifacts in a blob service.")] = True,
    code: Annotated[Path, typer.Option(exists=True, file_okay=False, help="Checkout whose platform is run.")] = ROOT,
    report: Annotated[
        Path | None, typer.Option("--json", help="Where results go; what is there is not run again.")
    ] = None,
) -> None:
    """Keep a platform busy, strike it, and check that every promise was kept."""
    first = secrets.randbelow(1 << 32) if seed is None else seed
    databases: tuple[Database, ...] = get_args(Database) if database == "both" else (database,)
    campaigns = [] if report is None or not report.exists() else CAMPAIGNS.validate_json(report.read_bytes())
    began = len(campaigns)
    for name in databases:
        for number in count(first):
            spent_s = sum(one.seconds for one in campaigns if one.database == name)
            if number - first >= seeds if hours is None else spent_s >= hours * 3600:
                break
            if any((one.database, one.seed) == (name, number) for one in campaigns):
                console.print(f"{name}, --seed {number}: done before")
                continue
            console.print(f"[bold]{name}[/], --seed {number}")
            campaigns.append(once(name, number, blows, calm, disk, blobs, code))
            show(campaigns[-1])
            if report is not None:  # as each ends: the next may not
                report.parent.mkdir(parents=True, exist_ok=True)
                report.write_bytes(CAMPAIGNS.dump_json(campaigns, indent=2) + b"\n")
    if len(campaigns) > 1:
        console.print(table(campaigns))
    if not all(campaign.clean for campaign in campaigns[began:]):
        raise typer.Exit(1)


def once(database: Database, seed: int, blows: int, calm: float, disk: bool, blobs: bool, code: Path) -> Campaign:
    """One campaign in a folder of its own."""

    def plan(kinds: Mapping[str, Strike]) -> Sequence[Planned]:
        return draw(seed, list(kinds), severe(kinds), blows, calm)

    with tempfile.TemporaryDirectory(prefix="cn-faults-") as folder:
        say = partial(console.print, markup=False, highlight=False)
        return run(Path(folder), database, seed, plan, disk, blobs, code, say)


def show(campaign: Campaign) -> None:
    """Print what came of it."""
    broken = Counter(breach.rule for breach in campaign.breaches)
    counts = {
        "accepted": campaign.accepted,
        **campaign.ends,
        "refused": len(campaign.refused),
        **{f"breaches: {rule}": broken[rule] for rule in get_args(Rule)},
        "starts": campaign.starts,
        "repeated calls": campaign.repeats,
    }
    jobs = Table("jobs", "", title=f"{campaign.database}, --seed {campaign.seed}, {campaign.seconds / 60:.1f} minutes")
    for name, number in counts.items():
        jobs.add_row(name, str(number))
    console.print(jobs)
    lines = [
        *(f"failed: {one.planned.kind}: {one.failed}" for one in campaign.outcomes if one.failed),
        *(f"refused: {why}" for why in campaign.refused),
        *map(str, campaign.breaches),
    ]
    for line in lines:
        console.print(line, style="red", markup=False, highlight=False)


def table(campaigns: Sequence[Campaign]) -> Table:
    """How often each kind struck, and how long the platform took to get over it."""
    accepted = sum(campaign.accepted for campaign in campaigns)
    breaches = sum(len(campaign.breaches) for campaign in campaigns)
    title = f"{len(campaigns)} campaigns, {accepted} accepted jobs, {breaches} breaches"
    drawn = Table("blow", "times", "missed", "recovery, median s", "longest s", title=title)
    by_kind = defaultdict(list)
    for campaign in campaigns:
        for outcome in campaign.outcomes:
            by_kind[outcome.planned.kind].append(outcome)
    for kind, outcomes in sorted(by_kind.items()):
        struck = [outcome.recovery_s for outcome in outcomes if not outcome.missed]
        middle, longest = (f"{statistics.median(struck):.1f}", f"{max(struck):.1f}") if struck else ("", "")
        drawn.add_row(kind, str(len(struck)), str(len(outcomes) - len(struck)), middle, longest)
    return drawn


if __name__ == "__main__":
    typer.run(main)
