"""`python -m ops.load`: load a platform, or soak it, and write the report."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ops.bench.report import typed
from ops.load import page, soakpage
from ops.load.calibration import NotCalibrated
from ops.load.progress import Steps
from ops.load.run import Load, embedded, measure, target, with_keys
from ops.load.soak import soak as run_soak
from ops.load.trace import MIX
from ops.services import Postgres

ROOT = Path(__file__).parents[2]
REPORTS = ROOT / "docs" / "load"
WIDTH = 120
"""Of tables that go to a file."""


def main(
    loads: Annotated[str, typer.Option(help="Times capacity, requests at random; commas between.")] = "0.6,0.9,1.3,2.0",
    bursts: Annotated[str, typer.Option(help="Times capacity, requests in bursts; commas between.")] = "0.9",
    seconds: Annotated[float, typer.Option(min=5, help="How long requests come, of each load.")] = 60.0,
    backlog: Annotated[float, typer.Option(min=5, help="Seconds of the closed backlog that capacity is.")] = 40.0,
    solos: Annotated[int, typer.Option(min=1, help="How often each shape is measured alone.")] = 2,
    seed: Annotated[int, typer.Option(help="Of the traces.")] = 0,
    deadlines: Annotated[bool, typer.Option(help="Whether callers send their SLO as a deadline.")] = True,
    soak: Annotated[float | None, typer.Option(min=1, help="Soak instead: minutes.")] = None,
    every: Annotated[float | None, typer.Option(min=5, help="Soak: seconds between two changes or kills.")] = None,
    database: Annotated[str, typer.Option(help="Of the platform that is started: sqlite or postgresql.")] = "sqlite",
    url: Annotated[str | None, typer.Option(help="A platform that is there, instead of one that is started.")] = None,
    key: Annotated[list[str] | None, typer.Option(help="With --url: a member's key, one for each team.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = ROOT / "build" / "load",
    record: Annotated[bool, typer.Option(help="Keep the report in docs/load, too.")] = False,
) -> None:
    """Measure what a platform can do, ask it for more and less than that, and say who got what how late."""
    console = Console(stderr=True, width=None if sys.stderr.isatty() else WIDTH)
    command = typed("ops.load", sys.argv[1:], key or [])
    if url is not None and (soak is not None or not key):
        raise typer.BadParameter(
            "a platform that is there needs --key, and can't be soaked: its processes are not ours"
        )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the platform ends with us
    with ExitStack() as stack, _told_plainly(console):
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cn-load-", ignore_cleanup_errors=True)))
        store = stack.enter_context(_database(database))
        steps = Steps(console)
        stack.enter_context(steps.shown())
        if soak is not None:
            soaked = run_soak(folder, store, soak, every, backlog, seed, command, steps.step, steps.watch, steps.say)
            soakpage.write(soaked, out)
            console.print(soakpage.table(soaked))
            _told(console, out, ("soak.html", "soak.json"), record)
            raise typer.Exit(0 if soaked.sound else 1)
        steps.step("starting the platform" if url is None else "making ready")
        if url is None:
            _, aim, _ = stack.enter_context(embedded(folder, store))
            mix, where = MIX, f"a platform started for it, {database}"
        else:
            mix = with_keys(MIX, folder, key or [])
            aim, where = target(url, folder, mix), "a platform that was there"
        wanted = [*(Load(times) for times in _numbers(loads)), *(Load(times, True) for times in _numbers(bursts))]
        found = measure(
            aim, where, wanted, seconds, backlog, solos, seed, deadlines, folder, command, steps.step, steps.watch, mix
        )
    page.write(found, out)
    console.print(page.table(found))
    _told(console, out, ("load.html", "load.json"), record)
    if not all(load.sound for load in found.loads):
        raise typer.Exit(1)


@contextmanager
def _told_plainly(console: Console) -> Iterator[None]:
    """A platform that can't be measured is no error of ours: one line says why."""
    try:
        yield
    except NotCalibrated as why:
        console.print(f"the platform can't be measured: {why}", style="red", markup=False)
        raise typer.Exit(2) from None


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",") if part.strip()]


@contextmanager
def _database(name: str) -> Iterator[str | None]:
    if name == "postgresql":
        with Postgres() as server:
            yield server.url()
    elif name == "sqlite":
        yield None
    else:
        raise typer.BadParameter(f"{name!r} is no database: choose sqlite or postgresql")


def _told(console: Console, out: Path, names: Sequence[str], record: bool) -> None:
    console.print(f"written to {out}: {', '.join(names)}", highlight=False)
    if record:
        REPORTS.mkdir(parents=True, exist_ok=True)
        for name in names:
            shutil.copy(out / name, REPORTS / name)
        console.print(f"kept in {REPORTS}", highlight=False)


if __name__ == "__main__":
    typer.run(main)
