"""The books of a soak: what callers were told, against what the database has."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from ops.faults.rig import Rig
from ops.load.deeds import Deed
from ops.load.driver import Run
from ops.load.plan import Fault
from serve.jobs.job import TERMINAL
from serve.jobs.schema import jobs

SETTLED_WITHIN_S = 180.0
EXCUSED_S = 15.0
"""After a killed process is back, in which answers may still be missing: connections that were half open."""


@dataclass(frozen=True, slots=True)
class Books:
    """What became of what was asked for.

    Attributes:
        accepted: Jobs that a caller was told of.
        lost: Of those, without a row or without an end.
        doubled: Rows that share an Idempotency-Key with another.
        failed: Requests that ended otherwise than done, cancelled on demand or refused; with the reason.
        unexcused: Answers of 5xx, or none, that no kill explains.
        excused: How many were explained, by type.
        disorder: Events that came twice or out of order.
    """

    requests: int
    accepted: int
    done: int
    cancelled: int
    refused: int
    lost: Sequence[str]
    doubled: int
    failed: Sequence[str]
    unexcused: Sequence[str]
    excused: Mapping[str, int]
    resumed: int
    disorder: int
    missing: int

    @property
    def clean(self) -> bool:
        """Nothing lost, doubled or failed, and every missing answer explained."""
        return not (self.lost or self.doubled or self.failed or self.unexcused or self.disorder or self.missing)


def audit(rig: Rig, run: Run, deeds: Sequence[Deed]) -> Books:
    """Wait until everything has settled, and compare."""
    _settle(rig)
    with rig.reads.connect() as connection:
        states = {row.id: row.state for row in connection.execute(sa.select(jobs.c.id, jobs.c.state))}
        keyed = sa.select(jobs.c.tenant, jobs.c.idempotency_key).where(jobs.c.idempotency_key.is_not(None))
        times = Counter(tuple(row) for row in connection.execute(keyed))
    accepted = [one for one in run.outcomes if one.job is not None]
    lost = [
        f"{one.job}: {states.get(str(one.job), 'no row')}"
        for one in accepted
        if states.get(str(one.job)) not in TERMINAL
    ]
    failed = [one for one in run.outcomes if one.end in ("failed", "unfinished")]
    excused = [fault for fault in run.faults if is_excused(fault, deeds)]
    return Books(
        requests=len(run.plan.requests),
        accepted=len(accepted),
        done=sum(one.end == "done" for one in run.outcomes),
        cancelled=sum(one.end == "cancelled" for one in run.outcomes),
        refused=sum(one.end in ("refused", "dropped") for one in run.outcomes),
        lost=lost,
        doubled=sum(count - 1 for count in times.values()),
        failed=[f"request {one.number}, job {one.job}: {one.end} {one.reason}" for one in failed],
        unexcused=[f"{f.at:.1f} s  {f.call}: {f.what}" for f in run.faults if not is_excused(f, deeds)],
        excused=dict(Counter(fault.what for fault in excused).most_common()),
        resumed=sum(one.resumed for one in run.outcomes),
        disorder=sum(one.disorder for one in run.outcomes),
        missing=len(run.plan.requests) - len(run.outcomes),
    )


def is_excused(fault: Fault, deeds: Sequence[Deed]) -> bool:
    """Whether a kill explains it: no answer, or 502 or 503, while something that was killed came back."""
    what = fault.what.split(" ")[0]
    if what.isdigit() and what not in ("502", "503"):
        return False
    return any(deed.kill and deed.at <= fault.at <= deed.until + EXCUSED_S for deed in deeds)


def _settle(rig: Rig) -> None:
    """Until every job has ended; what takes too long is for the books to tell."""
    waiting = sa.select(sa.func.count()).where(jobs.c.state.not_in(TERMINAL))
    deadline = time.monotonic() + SETTLED_WITHIN_S
    while time.monotonic() < deadline:
        with rig.reads.connect() as connection:
            if not connection.scalar(waiting):
                return
        time.sleep(0.1)
