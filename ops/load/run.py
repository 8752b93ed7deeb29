"""One measurement: calibrate, then load after load on the same platform."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from ops.bench.report import commit, machine, now, versions
from ops.faults.rig import Rig
from ops.load.arrivals import bursty, poisson
from ops.load.calibration import Calibration, Target, calibrate
from ops.load.driver import Watch, drive
from ops.load.figures import SLO, Figures, figures
from ops.load.pictures import write_pictures
from ops.load.plan import Plan
from ops.load.teams import declare, write_keys
from ops.load.trace import MIX, Mix, Request, Shape, Team, synthesize, zipf

DRAIN_S = 120.0


@dataclass(frozen=True, slots=True)
class Load:
    """How much is asked for, and how it comes.

    Attributes:
        times: Of capacity.
    """

    times: float
    in_bursts: bool = False

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.times:g}x{' in bursts' if self.in_bursts else ''}"

    def trace(self, mix: Mix, rate: float, seconds: float, seed: int) -> list[Request]:
        """Its requests, at so many a second for a load of 1."""
        arrive = bursty if self.in_bursts else poisson
        luck = random.Random(f"{seed} {self.name}")
        return list(synthesize(mix, arrive(self.times * rate, seconds, luck), luck.randrange(1 << 32)))


@dataclass(frozen=True, slots=True)
class Measurement:
    """All of it.

    Attributes:
        deadlines: Whether callers said when the result is of no use any more.
    """

    command: str
    began: datetime
    minutes: float
    commit: str
    machine: Mapping[str, object]
    versions: Mapping[str, str]
    where: str
    seed: int
    deadlines: bool
    calibration: Calibration
    loads: Sequence[Figures]


@contextmanager
def embedded(
    folder: Path, database: str | None, mix: Mix = MIX, settings: Mapping[str, str] | None = None
) -> Iterator[tuple[Rig, Target, Mapping[str, str]]]:
    """A platform of one's own, with the trace's teams.

    Args:
        folder: For everything it stores.
        database: SQLAlchemy URL; SQLite when absent.
        mix: Whose teams.
        settings: More `CN_*` variables.

    Yields:
        The platform, where callers find it, and the teams' admins' keys.
    """
    with Rig(folder, database, settings) as rig:
        members, admins = declare(rig, mix.teams)
        write_keys(folder / "keys.json", members)
        yield rig, target(rig.url, folder, mix), admins


def target(url: str, folder: Path, mix: Mix = MIX) -> Target:
    """A platform whose keys lie in `keys.json` of a folder; photographs are put beside them."""
    write_pictures(folder / "pictures", mix.pictures, seed=0)
    return Target(url, folder / "keys.json", folder / "pictures")


def with_keys(mix: Mix, folder: Path, keys: Sequence[str]) -> Mix:
    """The mix for a platform that is there already: a team a key, of which neither name nor weight is known."""
    names = [f"key-{number}" for number in range(1, len(keys) + 1)]
    write_keys(folder / "keys.json", dict(zip(names, keys, strict=True)))
    shares = zipf(len(keys), 1.2)
    return replace(mix, teams=tuple(Team(name, 1.0, share) for name, share in zip(names, shares, strict=True)))


def measure(
    target: Target,
    where: str,
    loads: Sequence[Load],
    seconds: float,
    backlog_s: float,
    solos: int,
    seed: int,
    deadlines: bool,
    folder: Path,
    command: str,
    step: Callable[[str], None],
    watch: Watch,
    mix: Mix = MIX,
) -> Measurement:
    """Calibrate and load.

    Args:
        target: A platform that nobody else uses.
        where: It is, for the report.
        loads: One after the other, each until it is quiet again.
        seconds: How long requests come, of each.
        backlog_s: How long the closed backlog of the calibration is kept up.
        solos: How often each shape is measured alone.
        seed: Of all traces.
        deadlines: Whether callers send their SLO as a deadline.
        folder: For files.
        command: That was typed.
        step: Told what begins.
        watch: Told of progress.
        mix: What is asked for.
    """
    began, clock = now(), time.monotonic()
    step("measuring what it can do")
    found = calibrate(target, mix, backlog_s, solos, folder, watch)
    results = []
    for load in loads:
        step(f"{load.name} of {found.requests_s:.2f} requests/s")
        trace = load.trace(mix, found.requests_s, seconds, seed)
        if deadlines:
            trace = [replace(one, deadline_s=SLO * solo(one.shape, found.solo_s)) for one in trace]
        name = f"{load.name.replace(' ', '-')}-{secrets.token_hex(4)}"
        plan = Plan(name, target.url, target.keys, target.pictures, trace, drain_s=max(DRAIN_S, 2 * seconds))
        run = drive(plan, folder / name, watch)
        results.append(
            figures(load.name, load.times, seconds, trace, run.outcomes, mix.teams, found.solo_s, found.gflop_s)
        )
    return Measurement(
        command=command,
        began=began,
        minutes=(time.monotonic() - clock) / 60,
        commit=commit(),
        machine=machine(),
        versions=versions(),
        where=where,
        seed=seed,
        deadlines=deadlines,
        calibration=found,
        loads=results,
    )


def solo(shape: Shape, solo_s: Mapping[Shape, float]) -> float:
    """Seconds of a shape alone. A map's is a photograph's: whether it has to be made first is not known before."""
    return solo_s[Shape("canny", shape.n, shape.steps, shape.side) if shape.steering == "map" else shape]
