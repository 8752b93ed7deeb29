"""`cnserve tenants`: the teams, as a file declares them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from serve.commands.operator import actor, console, tenancy
from serve.tenancy.declared import read
from serve.tenancy.tenants import Change, Tenant

app = typer.Typer(no_args_is_help=True)


@app.command()
def apply(
    file: Annotated[Path, typer.Option("--file", "-f", help="YAML; docs/teams.md has one.", dir_okay=False)],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove teams that are not in the file, and their keys.")
    ] = False,
) -> None:
    """Make the platform say what a file declares, and show what changed. Running jobs and keys go on."""
    with tenancy() as found:
        declared = read(file)
        if dry_run:
            changes = found.tenants.compare(declared, prune=prune)
        else:
            changes = found.tenants.apply(declared, actor(), prune=prune)
        left = {tenant.name for tenant in found.tenants.list()} - {tenant.name for tenant in declared}
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
    with tenancy() as found:
        teams = found.tenants.list()
    table = Table("tenant", "weight", "limits")
    for team in teams:
        limits = ", ".join(f"{name} {_text(value)}" for name, value in team.limits.to_json().items())
        table.add_row(team.name, f"{team.weight:g}", Text(limits or "none"))  # as it is: models stand in [brackets]
    console.print(table)


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
