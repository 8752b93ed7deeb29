"""What the operator's commands share: the platform's database, who does it, and what can't be done as a sentence."""

from __future__ import annotations

import contextlib
import getpass
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import typer
from rich.console import Console

from serve.commands.edge import settings
from serve.jobs.clock import clock_of
from serve.jobs.database import open_database, read_database, require_database
from serve.tenancy.keys import Keys
from serve.tenancy.tenants import Tenants

console = Console()

_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?P<count>[0-9]{1,9})(?P<unit>[smhd])", re.ASCII)


@dataclass(frozen=True, slots=True)
class Books:
    """The teams and keys of a database: `Tenancy` without what lets requests in, which takes longer to import."""

    tenants: Tenants
    keys: Keys


@contextlib.contextmanager
def books(access: Literal["read", "change", "make"]) -> Iterator[Books]:
    """Those of the database which the settings name.

    Args:
        access: Only `make` makes a database where there is none, and only `read` takes one that is read-only.

    Raises:
        OperatorError: There is none, or it can't be used.
    """
    url = settings().database_url
    if access == "change":
        require_database(url)
    engine = read_database(url) if access == "read" else open_database(url)
    try:
        clock = clock_of(engine)
        yield Books(Tenants(engine, clock), Keys(engine, clock))
    finally:
        engine.dispose()


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
