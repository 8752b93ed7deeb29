"""Starts the generator, and follows what it tells."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from ops.load.plan import PLAN, Fault, Outcome, Plan, lines

LOOK_S = 0.2
ENDED_WITHIN_S = 60.0
"""After the last arrival and the time that answers are waited for."""


@dataclass(slots=True)
class Run:
    """What a run has told so far.

    Attributes:
        began: Monotonic clock of the machine; none before it began.
    """

    plan: Plan
    outcomes: list[Outcome] = field(default_factory=list)
    began: float | None = None

    @property
    def seconds(self) -> float:
        """Since it began."""
        return 0.0 if self.began is None else time.monotonic() - self.began

    @property
    def faults(self) -> list[Fault]:
        """All answers that nobody should get."""
        return [fault for outcome in self.outcomes for fault in outcome.faults]


Watch = Callable[[Run], None]


@contextmanager
def started(plan: Plan, folder: Path) -> Iterator[tuple[Run, Callable[[], bool]]]:
    """Run the generator; ended with the block if it has not ended by itself.

    Args:
        plan: What it does.
        folder: For the plan, what it tells and what it says.

    Yields:
        What it has told, and a function that reads on and says whether it goes on.

    Raises:
        RuntimeError: It failed, with what it said.
    """
    folder.mkdir(parents=True, exist_ok=True)
    told, file = folder / "outcomes.jsonl", folder / "plan.json"
    file.write_bytes(PLAN.dump_json(plan))
    told.write_bytes(b"")
    with (folder / "generator.log").open("wb") as log, told.open("rb") as news:
        command = [sys.executable, "-m", "ops.load.generator", str(file), str(told)]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        run = Run(plan)

        def goes_on() -> bool:
            over = process.poll() is not None  # before the look, so that nothing is missed
            _read(news, run)
            if over and process.returncode != 0:
                said = (folder / "generator.log").read_text(errors="replace")
                raise RuntimeError(f"the load generator failed ({process.returncode}):\n{said[-4000:]}")
            return not over

        try:
            yield run, goes_on
        finally:
            if process.poll() is None:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(10)
                process.kill()
            process.wait()


def drive(plan: Plan, folder: Path, watch: Watch = lambda run: None) -> Run:
    """Do a plan to its end.

    Args:
        plan: What is sent.
        folder: For files.
        watch: Called now and then, for progress.

    Raises:
        RuntimeError: The generator failed, or hangs.
    """
    longest = plan.drain_s + ENDED_WITHIN_S + (plan.requests[-1].at if plan.window is None and plan.requests else 0.0)
    with started(plan, folder) as (run, goes_on):
        while goes_on():
            watch(run)
            if plan.window is None and run.seconds > longest:
                raise RuntimeError(f"the load generator has not ended {run.seconds:.0f} s after it began")
            time.sleep(LOOK_S)
        watch(run)
    return run


def _read(news: BinaryIO, run: Run) -> None:
    """Read whole lines; half a line is left for the next look."""
    at = news.tell()
    data = news.read()
    whole = data[: data.rfind(b"\n") + 1]
    news.seek(at + len(whole))
    for line in lines(iter(whole.splitlines(keepends=True))):
        if line.outcome is not None:
            run.outcomes.append(line.outcome)
        run.began = line.began if line.began is not None else run.began
