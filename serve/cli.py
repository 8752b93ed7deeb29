"""`cnserve`: start the platform, look after its models, use it."""

from __future__ import annotations

import os
from typing import Annotated

import typer
from rich.console import Console

from controlnet import __version__
from serve.commands.deferred import Deferred, deferred
from serve.commands.edge import settings
from serve.registry import settle

# Each command imports what it needs when it is called (ray and mlflow take seconds): `--help` answers at once.

app = typer.Typer(cls=Deferred, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(deferred("The registry: which model versions exist, which one is served."), name="models")
app.add_typer(deferred("Jobs, through the API at CN_URL: submit them, watch them, fetch images."), name="jobs")
app.add_typer(deferred("Teams: declared in a file, kept in the platform's database."), name="tenants")
app.add_typer(deferred("Keys: made for a team, shown once, rotated, revoked."), name="keys")
app.add_typer(deferred("Webhooks: how a team checks that they are ours."), name="webhooks")

console = Console()


def _show_version(wanted: bool) -> None:
    if wanted:
        console.print(f"cnserve {__version__}", highlight=False)
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Serve images with spatial control to many teams."""


@app.command()
def up() -> None:
    """Start the whole platform on this machine; Ctrl-C stops all of it."""
    settle(os.environ)
    from serve.commands.up import up

    up(settings())


@app.command()
def status() -> None:
    """Show what is served, what waits, what was made and what failed lately."""
    from serve.commands.status import status

    status(settings())


def main() -> None:
    """Entry point of the `cnserve` script."""
    app()
