"""A job's progress in the terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.compat.client_0_1.events import Annotated, Ended, Event, ImageDone, Progressed, Queued, Started

Watcher = Callable[[Event], object]
"""Told of each event of a job."""


@contextlib.contextmanager
def watching(progress: bool | Watcher) -> Iterator[Watcher]:
    """Who is told of the events: what was given, a bar, or nobody."""
    if callable(progress):
        yield progress
    elif progress:
        with bar() as watcher:
            yield watcher
    else:
        yield lambda event: None


@contextlib.contextmanager
def bar(console: Console | None = None) -> Iterator[Watcher]:
    """A bar of all steps of a job's images, for the time of the `with`."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as display:
        task = display.add_task("waiting", total=None)

        def show(event: Event) -> None:
            match event:
                case Queued():
                    display.update(
                        task, description="queued" + (f", {event.position} before" if event.position else "")
                    )
                case Started(attempt=1):
                    display.update(task, description="started")
                case Started():
                    display.update(task, description=f"started again, attempt {event.attempt}", completed=0)
                case Annotated():
                    display.update(task, description="control maps made")
                case Progressed():
                    display.update(
                        task,
                        description="sampling",
                        total=event.of * len(event.steps),
                        completed=sum(event.steps),
                    )
                case ImageDone():
                    display.update(task, description=f"image {event.index} made")
                case Ended(job=job):
                    display.update(task, description=job.state)
                    if job.state == "succeeded":
                        all_of_it = display.tasks[task].total or job.n
                        display.update(task, total=all_of_it, completed=all_of_it)

        yield show
