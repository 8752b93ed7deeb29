"""`cnserve`: start the platform, look after its models, use it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from serve.commands.deferred import Deferred, deferred
from serve.commands.edge import require_registry, settings
from serve.registry import ENVIRONMENT

if TYPE_CHECKING:
    from serve.registry.registry import Registry

# Each command imports what it needs when it is called (ray and mlflow take seconds): `--help` answers at once.

app = typer.Typer(
    cls=Deferred,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="The platform: images with spatial control, for many teams.",
)
models = typer.Typer(no_args_is_help=True, help="The registry: which model versions exist, which one is served.")
app.add_typer(models, name="models")
app.add_typer(deferred("Jobs, through the API at CN_URL: submit them, watch them, fetch images."), name="jobs")
app.add_typer(deferred("Teams: declared in a file, kept in the platform's database."), name="tenants")
app.add_typer(deferred("Keys: made for a team, shown once, rotated, revoked."), name="keys")
app.add_typer(deferred("Webhooks: how a team checks that they are ours."), name="webhooks")

console = Console()


@app.command()
def up() -> None:
    """Start the whole platform on this machine; Ctrl-C stops all of it."""
    _settle_environment()
    from serve.commands.up import up

    up(settings())


@app.command()
def status() -> None:
    """Show what is served, what waits, what was made and what failed lately."""
    from serve.commands.status import status

    status(settings())


@models.command("list")
def list_models() -> None:
    """Show the versions of the served model, newest first, and which aliases they hold."""
    require_registry(settings())
    with _registry() as registry:
        versions, numbers = registry.versions(), registry.aliases()
    table = Table("version", "aliases", "digest", "created")
    for version in versions:
        aliases = ", ".join(sorted(alias for alias, number in numbers.items() if number == version.version))
        table.add_row(version.version, aliases, version.digest[:19], version.created.isoformat(timespec="seconds"))
    console.print(table)


@models.command()
def push(
    bundle: Annotated[Path, typer.Argument(help="Folder with a bundle.json.", exists=True, file_okay=False)],
) -> None:
    """Register a bundle as a new version; it is not served until it is promoted."""
    with _registry() as registry:
        version = registry.push(bundle)
    console.print(f"version {version.version}  {version.digest}")


@models.command()
def promote(
    version: Annotated[str, typer.Argument(help="Number of a registered version.")],
    alias: Annotated[str, typer.Option(help="`champion` is served; `challenger` is tried.")] = "champion",
) -> None:
    """Point an alias at a version; samplers load and warm it before new jobs get it, nothing restarts."""
    with _registry() as registry:
        registry.promote(version, alias)
    console.print(f"{alias} is version {version}")


def main() -> None:
    """Entry point of the `cnserve` script."""
    app()


@contextlib.contextmanager
def _registry() -> Iterator[Registry]:
    """What the registry cannot do is told as its sentence, not as a traceback."""
    _settle_environment()
    from serve.registry.registry import Registry, RegistryError

    try:
        yield Registry.from_settings(settings())
    except RegistryError as error:
        console.print(str(error), style="red", markup=False)
        raise typer.Exit(1) from error


def _settle_environment() -> None:
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
