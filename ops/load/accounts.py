"""The books of a soak: what callers were told, and whether the history that they are part of is sound."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ops.faults import records
from ops.faults.checker import Breach, check
from ops.faults.history import History, Submission
from ops.faults.rig import Rig
from ops.load.deeds import Deed
from ops.load.driver import Run
from ops.load.plan import KEYS, Fault
from serve.jobs.artifacts import ArtifactStore

SETTLED_WITHIN_S = 180.0
EXCUSED_S = 15.0
"""After a killed process is back, in which answers may still be missing: connections that were half open."""


@dataclass(frozen=True, slots=True)
class Books:
    """What became of what was asked for.

    Attributes:
        accepted: Jobs that a caller was told of.
        breaches: Of promises, see `ops.faults.checker`.
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
    breaches: Sequence[Breach]
    failed: Sequence[str]
    unexcused: Sequence[str]
    excused: Mapping[str, int]
    resumed: int
    disorder: int
    missing: int

    @property
    def clean(self) -> bool:
        """No promise is broken, no request failed, and every missing answer is explained."""
        return not (self.breaches or self.failed or self.unexcused or self.disorder or self.missing)


def audit(rig: Rig, run: Run, deeds: Sequence[Deed]) -> Books:
    """Wait until everything has settled, and compare."""
    _settle(rig)
    failed = [one for one in run.outcomes if one.end in ("failed", "unfinished")]
    excused = [fault for fault in run.faults if is_excused(fault, deeds)]
    return Books(
        requests=len(run.plan.requests),
        accepted=sum(one.job is not None for one in run.outcomes),
        done=sum(one.end == "done" for one in run.outcomes),
        cancelled=sum(one.end == "cancelled" for one in run.outcomes),
        refused=sum(one.end in ("refused", "dropped") for one in run.outcomes),
        breaches=check(history(rig, run)),
        failed=[f"request {one.number}, job {one.job}: {one.end} {one.reason}" for one in failed],
        unexcused=[f"{f.at:.1f} s  {f.call}: {f.what}" for f in run.faults if not is_excused(f, deeds)],
        excused=dict(Counter(fault.what for fault in excused).most_common()),
        resumed=sum(one.resumed for one in run.outcomes),
        disorder=sum(one.disorder for one in run.outcomes),
        missing=len(run.plan.requests) - len(run.outcomes),
    )


def history(rig: Rig, run: Run) -> History:
    """What callers asked for, and what the platform has, also of its other jobs: calibration and maps."""
    submissions = [
        Submission(
            team=(request := run.plan.requests[one.number]).tenant,
            key=None,
            jobs=(one.job,),
            accepted=True,
            cancelled=one.end in ("cancelled", "unfinished"),
            deadline=request.deadline_s is not None,
        )
        for one in run.outcomes
        if one.job is not None
    ]
    billed = records.bill(run.plan.url, KEYS.validate_json(run.plan.keys.read_bytes()))
    return records.read(rig.reads, ArtifactStore.open(rig.artifacts.as_uri()), submissions, (), billed, complete=False)


def is_excused(fault: Fault, deeds: Sequence[Deed]) -> bool:
    """Whether a kill explains it: no answer, or 502 or 503, while something that was killed came back."""
    what = fault.what.split(" ")[0]
    if what.isdigit() and what not in ("502", "503"):
        return False
    return any(deed.kill and deed.at <= fault.at <= deed.until + EXCUSED_S for deed in deeds)


def _settle(rig: Rig) -> None:
    """Until every job has ended; what takes too long is for the books to tell."""
    deadline = time.monotonic() + SETTLED_WITHIN_S
    while time.monotonic() < deadline and records.unfinished(rig.reads):
        time.sleep(0.1)
