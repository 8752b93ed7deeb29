"""What is broken, and at which moment of a job's life."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from ops.faults import changes
from ops.faults.rig import Rig
from serve.jobs.schema import events, jobs

MOMENT_WITHIN_S = 10.0
RECOVERED_WITHIN_S = 420.0  # the machine may be shared


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to break the platform.

    Attributes:
        kind: What is broken; the table is by kind.
        moment: When: a state that some job must be in, see `MOMENTS`.
    """

    kind: str
    moment: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a fault.

    Attributes:
        hit: Whether a job was in the wanted state when the blow fell.
        unfinished: Jobs that were under way then.
        recovery_s: From the blow until the last of these had ended.
    """

    fault: Fault
    hit: bool
    unfinished: int
    recovery_s: float


FAULTS = (
    Fault("sampler", "sampling"),
    Fault("api", "queued"),
    Fault("dispatcher", "unsaved"),
    Fault("imaging", "started"),
    Fault("tree", "sampling"),
    Fault("dispatcher", "sampling"),
    Fault("sampler", "started"),
    Fault("controller", "sampling"),
    Fault("dispatcher", "started"),
    Fault("imaging", "image"),
    Fault("api", "image"),
    Fault("tree", "unsaved"),
    Fault("promotion", "sampling"),
    Fault("disk", "sampling"),
    Fault("redeploy", "sampling"),
    Fault("dispatcher", "image"),
    Fault("sampler", "image"),
)
"""In this order, over and over; `disk` only where there is one to be filled, see `changes.mount_disk`."""

SHORT = (
    Fault("sampler", "sampling"),
    Fault("dispatcher", "unsaved"),
    Fault("api", "queued"),
    Fault("imaging", "started"),
    Fault("tree", "sampling"),
)
"""One of each kind that a test has the time for."""

DATABASE = Fault("database", "sampling")
"""Only where the database is a server."""

CHANGES: Mapping[str, Callable[[Rig], None]] = {
    "promotion": changes.promote,
    "disk": changes.fill_disk,
    "redeploy": changes.redeploy,
}
"""What is not a blow: these end by themselves."""


def strike(rig: Rig, fault: Fault, restart_database: Callable[[], None] | None = None) -> Outcome:
    """Wait for the moment, break what is to be broken, and wait until the jobs of that moment have ended.

    Raises:
        RuntimeError: Some have not ended in time: the platform did not recover.
    """
    hit = _wait_for(rig, fault.moment)
    began = time.time()
    unfinished = _unfinished(rig.reads)
    if fault.kind == "tree":
        rig.kill_all()
        rig.start()
    elif fault.kind == "database":
        assert restart_database is not None
        restart_database()
    elif fault.kind in CHANGES:
        CHANGES[fault.kind](rig)
    else:
        rig.kill(fault.kind)
    return Outcome(fault, hit, len(unfinished), _recovered(rig, unfinished, began))


def _wait_for(rig: Rig, moment: str) -> bool:
    look = _Unsaved(rig).seen if moment == "unsaved" else lambda: _some(rig.reads, moment)
    deadline = time.monotonic() + MOMENT_WITHIN_S
    while time.monotonic() < deadline:
        if look():
            return True
        time.sleep(0.002)
    return False


def _some(engine: sa.Engine, moment: str) -> bool:
    """Whether a job is queued; started and not sampling yet; sampling; or has an image and no end."""
    running = jobs.c.state == "running"
    imaged = sa.exists().where(events.c.job_id == jobs.c.id, events.c.kind == "image")
    where = {
        "queued": jobs.c.state == "queued",
        "started": running & jobs.c.progress.is_(None) & ~imaged,
        "sampling": running & jobs.c.progress.is_not(None) & ~imaged,
        "image": running & imaged,
    }[moment]
    with engine.connect() as connection:
        return connection.scalar(sa.select(jobs.c.id).where(where).limit(1)) is not None


class _Unsaved:
    """The nasty instant: a picture is stored, and the row does not say so yet.

    No hook in the platform: the folder of artifacts is watched, and a file that has just come while no job has the
    state after it is the moment.
    """

    def __init__(self, rig: Rig) -> None:
        self._folder = rig.artifacts / "demo"
        self._known = self._list()

    def seen(self) -> bool:
        """Whether a file has come since the last look."""
        fresh = self._list() - self._known
        self._known |= fresh
        return bool(fresh)

    def _list(self) -> set[Path]:
        return set(self._folder.glob("*/*.png"))


def _unfinished(engine: sa.Engine) -> set[str]:
    query = sa.select(jobs.c.id).where(jobs.c.state.in_(("queued", "running")))
    with engine.connect() as connection:
        return set(connection.scalars(query))


def _recovered(rig: Rig, unfinished: set[str], began: float) -> float:
    deadline = time.monotonic() + RECOVERED_WITHIN_S
    left = unfinished
    while left:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{len(left)} jobs have not ended {RECOVERED_WITHIN_S:.0f} s after: {sorted(left)[:3]}")
        time.sleep(0.05)
        try:
            left = unfinished & _unfinished(rig.reads)
        except sa.exc.OperationalError:
            continue  # the database is what was broken
    if not unfinished:
        return 0.0
    with rig.reads.connect() as connection:
        ended = connection.scalar(sa.select(sa.func.max(jobs.c.finished_at)).where(jobs.c.id.in_(unfinished)))
    return max(0.0, float(ended or began) - began)
