"""`cnserve status`: the platform on one screen, from its database: it answers also while the api does not."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from serve.config import Settings
from serve.errors import OperatorError
from serve.jobs.database import StoreUnavailable, read_database
from serve.jobs.rollouts import Rollout
from serve.jobs.store import READY, JobStore
from serve.views.status import StatusAnswer, answer

console = Console()

WAITED_FOR_S = 2.0
"""After what was waited for was told, the line is that for so long."""


def status(settings: Settings) -> None:
    """Show what is served, what waits, what was made and what failed lately.

    Args:
        settings: Of the platform.

    Raises:
        OperatorError: It has no database, or one that can't be used.
        StoreUnavailable: The database does not answer.
    """
    engine = read_database(settings.database_url)
    try:
        store = JobStore(engine)
        found, now = answer(store.overview(), store.locked(READY)), store.clock()
    finally:
        engine.dispose()
    show(found, console, now)


def show(found: StatusAnswer, console: Console, now: float) -> None:
    """Print it.

    Args:
        found: What is so.
        console: Where.
        now: Epoch seconds.
    """
    if found.ready:
        console.print("ready")
    else:
        console.print("not ready: no sampler holds a model", style="red")
    for one in found.serving:
        console.print(f"{one.model} version {one.version}  {one.digest[:19]}  for {spoken(now - one.since)}")
    for rollout in found.rollouts:
        if rollout.state != "served" or rollout.fault is not None:
            style = "yellow" if rollout.fault is None else "red"
            text = Rollout(**rollout.model_dump()).sentence()
            console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
    console.print(f"samplers heard of: {found.samplers}")
    if found.queue:
        table = Table("team", "waiting", "running", "GFLOP waiting", box=None)
        for line in found.queue:
            table.add_row(line.tenant, str(line.waiting), str(line.running), f"{line.gflop:.0f}")
        console.print(table)
    else:
        console.print("nothing waits, nothing runs")
    if found.oldest is not None:
        console.print(f"oldest: {found.oldest.job}, waiting for {spoken(found.oldest.waited_s)}")
    if found.overdue:
        console.print(f"{found.overdue} jobs have a worker that went silent", style="yellow")
    console.print(f"last 5 minutes: {found.made.images} images of {found.made.jobs} jobs, {found.made.gflop:.0f} GFLOP")
    failed = ", ".join(f"{number} {kind}" for kind, number in sorted(found.failed.items()))
    console.print(f"failed in the last hour: {failed or 'none'}", style="red" if failed else None)


def line(found: StatusAnswer) -> str:
    """The same in a few words, for a line that stays."""
    waiting, running = (sum(getattr(one, name) for one in found.queue) for name in ("waiting", "running"))
    versions = ", ".join(f"version {one.version}" for one in found.serving) or "no version"
    failed = sum(found.failed.values())
    unserved = [f"version {one.wanted} {one.state}" for one in found.rollouts if one.wanted and one.state != "served"]
    words = [f"{versions} served" if found.ready else "not ready", *unserved]
    words += [f"{waiting} waiting", f"{running} running"]
    words.append(f"{found.made.images} images in 5 minutes")
    return " · ".join([*words, *([f"{failed} failed in an hour"] if failed else [])])


@contextlib.contextmanager
def live_line(settings: Settings, console: Console) -> Iterator[Callable[[str], str | None]]:
    """A line that stays below what else is said, where there is a terminal.

    Yields:
        A call that takes what is waited for, which is the line then; without it the line says how the platform is
        doing, and the call returns what keeps the champion from being served, as a sentence, where that is new.
    """
    told: dict[str, tuple[str | None, str | None]] = {}
    store: JobStore | None = None
    waited_at = float("-inf")
    with contextlib.ExitStack() as last:
        live = last.enter_context(console.status("starting")) if console.is_terminal else None

        def update(text: str | Text) -> None:
            if live is not None and time.monotonic() - waited_at > WAITED_FOR_S:
                live.update(text)

        def tell(waited: str) -> str | None:
            nonlocal store, waited_at
            if waited:
                waited_at = time.monotonic()
                if live is not None:
                    live.update(waited)
                return None
            try:
                if store is None:
                    engine = read_database(settings.database_url)
                    last.callback(engine.dispose)
                    store = JobStore(engine)
                if live is not None:
                    update(line(answer(store.overview(), store.locked(READY))))
                return _news(store.rollouts.current(), told)
            except StoreUnavailable:
                update("the store is away")
            except OperatorError as error:  # the platform makes the database while it starts, and says what it lacks
                update(Text(str(error)))
            return None

        yield tell


def _news(rollouts: Iterable[Rollout], told: dict[str, tuple[str | None, str | None]]) -> str | None:
    """Faults that are not `told` yet; a reason that differs from time to time is none."""
    new = []
    for rollout in rollouts:
        before, told[rollout.model] = told.get(rollout.model), (rollout.wanted, rollout.fault)
        if rollout.fault is not None and before != (rollout.wanted, rollout.fault):
            new.append(rollout.sentence())
    return "\n".join(new) or None


def spoken(seconds: float) -> str:
    """A time for people: 45 s, 12 min, 3 h, 2 d."""
    for size, name in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {name}"
    return f"{max(0.0, seconds):.0f} s"
