"""`cnserve models`: which versions the registry has, and which one is served."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import sqlalchemy as sa
import typer
from rich.console import Console

from controlnet.bundle import BundleError
from serve.commands.edge import require_registry, settings
from serve.config import Settings
from serve.errors import ServeError
from serve.jobs.database import NoDatabase, read_database
from serve.jobs.rollouts import Rollout
from serve.jobs.store import JobStore
from serve.registry import settle

if TYPE_CHECKING:
    from serve.registry.registry import Registry

app = typer.Typer(no_args_is_help=True)
console = Console()

CHAMPION = "champion"
LOOK_EVERY_S = 0.5


@app.command("list")
def list_models() -> None:
    """Show the versions of the served model, newest first, their aliases, and how far each is served."""
    require_registry(settings())
    with _registry() as registry:
        versions, numbers = registry.versions(), registry.aliases()
    rollout = _rollout(settings())
    rows = [("version", "aliases", "state", "created", "digest")]
    for version in versions:
        aliases = ", ".join(sorted(alias for alias, number in numbers.items() if number == version.version))
        created = version.created.isoformat(sep=" ", timespec="minutes")
        rows.append((version.version, aliases, _state(version.version, rollout), created, version.digest))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:  # in no table, which would cut a digest in two
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        console.print("  ".join(cells).rstrip(), markup=False, highlight=False, soft_wrap=True)
    if rollout is None:
        console.print("No platform runs, so none is served now.")
    elif rollout.fault is not None:
        _tell(rollout.sentence(), "red")


@app.command()
def push(
    bundle: Annotated[Path, typer.Argument(help="Folder with a bundle.json.", exists=True, file_okay=False)],
) -> None:
    """Register a bundle as a new version; it is not served until it is promoted."""
    with _registry() as registry:
        version = registry.push(bundle)
    _tell(f"version {version.version}  {version.digest}")


@app.command()
def promote(
    version: Annotated[str, typer.Argument(help="Number of a registered version.")],
    alias: Annotated[str, typer.Option(help="Alias that is to name it; new jobs get the champion.")] = CHAMPION,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait until it is served or has failed, or not.")
    ] = True,
    timeout: Annotated[float, typer.Option(min=0.0, help="Longest wait in seconds.")] = 300.0,
) -> None:
    """Point an alias at a version; samplers load and warm it before new jobs get it, nothing restarts.

    Fails where the version does not come to be served in time; what was served before goes on being served.
    """
    with _registry() as registry:
        registry.promote(version, alias)
    console.print(f"{alias} is version {version}")
    if alias == CHAMPION and wait:
        _follow(settings(), version, timeout)


def _follow(settings: Settings, version: str, timeout_s: float) -> None:
    """Tell whether a version comes to be served."""
    with _rollouts(settings) as read:
        if read() is None:
            _tell(f"No platform runs on {_place(settings)}: it is loaded when one starts.")
            return
        with console.status(f"Waiting until version {version} is served ..."):
            found = await_rollout(read, version, timeout_s)
    if found is None:
        _fail(f"The platform on {_place(settings)} has stopped: version {version} is loaded when it starts again.")
    if found.wanted == version and found.state == "served":
        console.print(f"version {version} is served")
    elif found.wanted == version and found.fault is not None:
        _fail(f"{found.sentence()} (It is tried again, later and later; promoting another version ends that.)")
    else:
        _fail(f"version {version} is not served after {timeout_s:g} s. {found.sentence()}")


def await_rollout(
    read: Callable[[], Rollout | None],
    version: str,
    timeout_s: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Rollout | None:
    """Wait until a version is served or has failed.

    Args:
        read: What the platform says; none where none runs any more.
        version: That was promoted.
        timeout_s: After which the wait ends.
        clock: Seconds that only grow.
        sleep: Waits for so many.

    Returns:
        What it said last.
    """
    end = clock() + timeout_s
    while True:
        found = read()
        if found is None or clock() >= end or (found.wanted == version and found.state != "loading"):
            return found
        sleep(LOOK_EVERY_S)


def _state(version: str, rollout: Rollout | None) -> str:
    if rollout is None:
        return ""
    if version == rollout.wanted and rollout.state != "served":
        return rollout.state
    return "served" if version == rollout.serving else ""


def _rollout(settings: Settings) -> Rollout | None:
    with _rollouts(settings) as read:
        return read()


@contextlib.contextmanager
def _rollouts(settings: Settings) -> Iterator[Callable[[], Rollout | None]]:
    """How far the champion is served, as often as it is asked; where there is no database none runs."""
    try:
        try:
            engine = read_database(settings.database_url)
        except NoDatabase:
            yield lambda: None
            return
        try:
            rollouts = JobStore(engine).rollouts
            yield lambda: rollouts.of(settings.model)
        finally:
            engine.dispose()
    except ServeError as error:
        _fail(f"Whether it is served is not known. {error}")


def _place(settings: Settings) -> str:
    return sa.make_url(settings.database_url).render_as_string(hide_password=True)


@contextlib.contextmanager
def _registry() -> Iterator[Registry]:
    """What the registry can't do, or a folder that is no bundle, is told as a sentence, not as a traceback."""
    settle(os.environ)
    from serve.registry.registry import Registry, RegistryError

    try:
        yield Registry.from_settings(settings())
    except (BundleError, RegistryError) as error:
        _fail(str(error))


def _tell(text: str, style: str | None = None) -> None:
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def _fail(text: str) -> NoReturn:
    _tell(text, "red")
    raise typer.Exit(1)
