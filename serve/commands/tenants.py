"""`cnserve tenants`: the teams, as a file declares them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from serve.commands.operator import actor, books, console
from serve.jobs.database import NoDatabase
from serve.tenancy.declared import read
from serve.tenancy.tenants import Change, Tenant

app = typer.Typer(no_args_is_help=True)


@app.command()
def apply(
    file: Annotated[
        Path, typer.Option("--file", "-f", help="YAML file of teams; docs/teams.md has one.", dir_okay=False)
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="No change: only show what would be.")] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Removal of teams that are not in the file, and of their keys.")
    ] = False,
) -> None:
    """Make the platform say what a file declares, and show what changed. Running jobs and keys go on."""
    declared = read(file)
    if dry_run:
        changes, standing = _dry(declared, prune)
    else:
        with books("make") as found:
            changes, standing = found.tenants.apply(declared, actor(), prune=prune), found.tenants.list()
    left = {tenant.name for tenant in standing} - {tenant.name for tenant in declared}
    for change in changes:
        would = "would be " if dry_run else ""
        _say(f"{change.name}: {would}{change.kind}{_differences(change)}")
    if not changes:
        _say("Nothing to change.")
    if left and not prune:
        _say(f"Not in the file, and left as they are: {', '.join(sorted(left))}. --prune removes them.")


@app.command("list")
def list_tenants() -> None:
    """Show the teams with their weights and limits."""
    with books("read") as found:
        teams = found.tenants.list()
    table = Table("tenant", "weight", "limits")
    for team in teams:
        limits = ", ".join(f"{name} {_text(value)}" for name, value in team.limits.to_json().items())
        table.add_row(team.name, f"{team.weight:g}", Text(limits or "none"))  # as it is: models stand in [brackets]
    console.print(table)


def _dry(declared: Sequence[Tenant], prune: bool) -> tuple[Sequence[Change], Sequence[Tenant]]:
    """What would change, and which teams there are: none where there is no database, which a dry run does not make."""
    try:
        with books("read") as found:
            return found.tenants.compare(declared, prune=prune), found.tenants.list()
    except NoDatabase:
        return [Change(tenant.name, None, tenant) for tenant in declared], []


def _say(line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _differences(change: Change) -> str:
    """What is otherwise, of a team that was there and stays."""
    if change.before is None or change.after is None:
        return ""
    return ": " + ", ".join(_compared(_flat(change.before), _flat(change.after)))


def _compared(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            yield f"{name} {_text(before.get(name))} -> {_text(after.get(name))}"


def _flat(tenant: Tenant) -> dict[str, Any]:
    return {"weight": tenant.weight, **tenant.limits.to_json()}


def _text(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, list):
        return "[" + ", ".join(map(str, value)) + "]"
    return f"{value:.12g}" if isinstance(value, int | float) else str(value)
