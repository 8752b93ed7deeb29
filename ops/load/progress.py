"""What a person sees meanwhile: one line that stays where it is, or on no terminal one line a step."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from ops.load.driver import Run


class Steps:
    """Shows which step a command is in, and how far.

    Args:
        console: Where.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._progress = Progress(
            TextColumn("{task.description:<34}"),
            BarColumn(24),
            TextColumn("{task.fields[news]}"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._at = time.monotonic()

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show it until the block is left."""
        with self._progress:
            yield
            self._close()

    def step(self, name: str) -> None:
        """Something begins."""
        self._close()
        self._task = self._progress.add_task(name, total=None, news="")
        self._name, self._at = name, time.monotonic()

    def watch(self, run: Run) -> None:
        """How far a run of the generator is."""
        if self._task is None:
            return
        plan, ended = run.plan, len(run.outcomes)
        done = sum(one.end == "done" for one in run.outcomes)
        if plan.window is not None:
            total = plan.seconds if plan.seconds is not None else float(len(plan.requests))
            at = run.seconds if plan.seconds is not None else float(ended)
            news = f"{done} done"
        else:
            total, at = plan.requests[-1].at if plan.requests else 0.0, run.seconds
            came = sum(request.at <= run.seconds for request in plan.requests)
            news = f"{came} came, {done} done, {ended - done} not, {max(0, came - ended)} under way"
        self._progress.update(self._task, total=total, completed=min(at, total), news=news)

    def say(self, line: str) -> None:
        """A line above."""
        self.console.print(line, highlight=False, markup=False)

    def _close(self) -> None:
        if self._task is None:
            return
        self._progress.remove_task(self._task)
        self.say(f"{self._name}: {time.monotonic() - self._at:.0f} s")
        self._task = None
