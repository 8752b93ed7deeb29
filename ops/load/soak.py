"""A soak: much of what the platform can do, for long, with changes and kills: does anything grow, or get lost?"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ops.bench.report import commit, machine, now
from ops.faults.rig import Rig
from ops.load.accounts import Books, audit
from ops.load.arrivals import poisson
from ops.load.calibration import Target, capacity
from ops.load.census import Sample, take
from ops.load.deeds import Deed, Deeds
from ops.load.driver import Run, Watch, started
from ops.load.figures import Waits
from ops.load.growth import Growth
from ops.load.leaks import handles, memory, stored
from ops.load.plan import Plan
from ops.load.run import embedded
from ops.load.trace import MIX, Mix, synthesize
from ops.load.work import mean_gflop
from serve.deployments.chores import SWEEP_EVERY_S

LOAD = 0.7
PATIENCE_S = 600.0  # of callers, and for what is under way at the end: the machine may be shared
RETENTION_S = 90.0
"""Short, so that what expires does so while it is watched; far above what a caller takes to fetch its images."""

SETTLED_S = RETENTION_S + 2 * SWEEP_EVERY_S
"""After which as much expires as comes: before, files and rows grow whatever becomes of them."""

EXPIRY_S = RETENTION_S + SWEEP_EVERY_S / 2
"""From a job's coming to the sweep of its results, on average."""

SETTINGS = {
    "CN_LEASE": "6",  # a silent dispatcher is missed soon
    "CN_RETENTION": f"{RETENTION_S:g}",
}
"""Of the platform under test."""


@dataclass(frozen=True, slots=True)
class Soaked:
    """All of it.

    Attributes:
        load: Times capacity; none where the rate was given and capacity not measured.
        every: Seconds between two deeds.
        warm_s: Seconds of each process's life, and of the run, that are left out of the verdicts.
    """

    command: str
    began: datetime
    minutes: float
    commit: str
    machine: Mapping[str, object]
    database: str
    load: float | None
    requests_s: float
    every: float
    warm_s: float
    deeds: Sequence[Deed]
    samples: Sequence[Sample]
    memory: Sequence[Growth]
    rest: Sequence[Growth]
    books: Books
    waits: Waits
    late: Waits

    @property
    def leaks(self) -> list[Growth]:
        """What is not flat."""
        return [one for one in (*self.memory, *self.rest) if one.flat is False]

    @property
    def sound(self) -> bool:
        """The books are clean, nothing grows, and all that was to be done to the platform was done."""
        return self.books.clean and not self.leaks and not any(deed.failed for deed in self.deeds)


def soak(
    folder: Path,
    database: str | None,
    minutes: float,
    every: float | None,
    backlog_s: float,
    seed: int,
    command: str,
    step: Callable[[str], None],
    watch: Watch,
    say: Callable[[str], None],
    mix: Mix = MIX,
    requests_s: float | None = None,
) -> Soaked:
    """Start a platform and soak it.

    Args:
        folder: For everything.
        database: SQLAlchemy URL; SQLite when absent.
        minutes: How long requests come.
        every: Seconds between two changes or kills; a twelfth of the time when absent, 20 to 300.
        backlog_s: Of the closed backlog that capacity is measured with.
        seed: Of the trace.
        command: That was typed.
        step: Told what begins.
        watch: Told of progress.
        say: Told of each change or kill.
        mix: What is asked for.
        requests_s: Rate of the requests, where it is not to be 0.7 of what is measured first.
    """
    began, seconds = now(), 60 * minutes
    every = every or min(300.0, max(20.0, seconds / 12))
    step("starting the platform")
    with embedded(folder, database, mix, SETTINGS) as (rig, target, admins):
        rate = requests_s
        if rate is None:
            step("measuring what it can do")
            gflop_s, _ = capacity(target, mix, backlog_s, folder, watch)
            rate = LOAD * gflop_s / mean_gflop(mix)
        step(f"{rate:.2f} requests/s, {minutes:g} min")
        luck = random.Random(seed)
        trace = list(synthesize(mix, poisson(rate, seconds, luck), luck.randrange(1 << 32)))
        name = f"soak-{secrets.token_hex(4)}"
        plan = Plan(name, target.url, target.keys, target.pictures, trace, drain_s=PATIENCE_S, patience_s=PATIENCE_S)
        run, deeds, samples = _watched(rig, target, admins, plan, folder / name, seconds, every, watch, say)
        step("waiting for the end")
        books = audit(rig, run, deeds)
    warm_s = min(600.0, 0.2 * seconds)
    done = [one for one in run.outcomes if one.end == "done"]
    return Soaked(
        command=command,
        began=began,
        minutes=minutes,
        commit=commit(),
        machine=machine(),
        database="sqlite" if database is None else "postgresql",
        load=LOAD if requests_s is None else None,
        requests_s=rate,
        every=every,
        warm_s=warm_s,
        deeds=deeds,
        samples=samples,
        memory=list(memory(samples, warm_s, warm_s)),
        rest=[*handles(samples, warm_s, warm_s), *stored(samples, deeds, max(warm_s, SETTLED_S), warm_s, EXPIRY_S)],
        books=books,
        waits=Waits.of([one.ended - trace[one.number].at for one in done]),
        late=Waits.of([max(0.0, one.sent - trace[one.number].at) for one in run.outcomes]),
    )


def _watched(
    rig: Rig,
    target: Target,
    admins: Mapping[str, str],
    plan: Plan,
    folder: Path,
    seconds: float,
    every: float,
    watch: Watch,
    say: Callable[[str], None],
) -> tuple[Run, Sequence[Deed], Sequence[Sample]]:
    """The run, with deeds meanwhile and a look every second, later every five, and one when all is over."""
    samples: list[Sample] = []
    apart, due = min(5.0, max(1.0, seconds / 300)), 0.0
    with started(plan, folder) as (run, goes_on):
        while run.began is None and goes_on():
            time.sleep(0.05)
        with Deeds(rig, target, admins, every, seconds - every, lambda: run.seconds, say) as deeds:
            while goes_on():
                watch(run)
                if run.seconds >= due and run.seconds <= seconds:
                    samples.append(take(rig, run.seconds))
                    due = run.seconds + apart
                time.sleep(0.1)
        samples.append(take(rig, run.seconds))  # of who came after the last kill, too
    return run, deeds.done, samples
