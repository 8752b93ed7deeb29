"""What the operator's commands share: the platform's database, who does it, and what can't be done as a sentence."""

from __future__ import annotations

import contextlib
import getpass
import re
from collections.abc import Iterator

import typer
from rich.console import Console

from serve.config import Settings
from serve.errors import ServeError
from serve.jobs.database import open_database
from serve.tenancy.declared import DeclarationError
from serve.tenancy.tenancy import Tenancy

console = Console()

_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?P<count>[0-9]{1,9})(?P<unit>[smhd])", re.ASCII)


@contextlib.contextmanager
def tenancy() -> Iterator[Tenancy]:
    """That of the database which the settings name; what goes wrong is told as a sentence, not as a traceback."""
    settings = Settings()
    try:
        engine = open_database(settings.database_url)
        try:
            yield Tenancy.over(engine, settings)
        finally:
            engine.dispose()
    except (DeclarationError, ServeError) as error:
        console.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error


def actor() -> str:
    """What the audit log calls whoever sits at the shell."""
    try:
        return f"shell:{getpass.getuser()}"
    except (KeyError, OSError):  # a container's user may have no name
        return "shell"


def seconds(text: str) -> float:
    """A duration: `90d`, `12h`, `30m`, `45s`.

    Raises:
        typer.BadParameter: It is none.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a duration: write 90d, 12h, 30m or 45s.")
    return int(match["count"]) * _UNITS_S[match["unit"]]
