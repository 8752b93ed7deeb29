"""What a transaction did to jobs, for whoever counts: told once it is committed, by the process that committed it.

What jobs took of their teams' days is given back as the transaction's last act: their rows are locked before, and days
after all of them.

So each end is counted once, whoever ended the job: the dispatcher that made it, one that found its lease run out or its
deadline passed, or the api that cancelled it while it waited.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import sqlalchemy as sa

from serve.errors import DeadlineMissed, ServeError
from serve.jobs.job import Terminal
from serve.jobs.quotas import give_back

Outcome = Literal["succeeded", "cancelled", "refused", "late", "failed"]
Reason = Literal["failure", "lease", "stop", "death"]

_NOTES, _REFUNDS = "changes", "refunds"


@dataclass(frozen=True, slots=True)
class Ended:
    """A job is over.

    Attributes:
        outcome: `refused` where its own request was at fault, `late` where its deadline passed, `failed` where we were.
        seconds: Since its submission.
        set_aside: It was given up after its last attempt.
        images: Made.
        stages: Seconds of each stage, of a job that succeeded.
        gflop: Its work, of a job that succeeded.
    """

    tenant: str
    outcome: Outcome
    seconds: float
    set_aside: bool = False
    images: int = 0
    stages: Mapping[str, float] | None = None
    gflop: float = 0.0


@dataclass(frozen=True, slots=True)
class PutBack:
    """A job waits again.

    Attributes:
        reason: `failure` where its attempt failed, which counts; `lease` where its lease ran out; `stop` where its
            worker was stopped, or something else happened around it; `death` where its worker died.
    """

    tenant: str
    reason: Reason


class Observer(Protocol):
    """Hears of what was committed; it must be quick, and what it raises is the caller's."""

    def ended(self, end: Ended, /) -> None:
        """A job is over."""

    def put_back(self, change: PutBack, /) -> None:
        """A job waits again."""


class Nobody:
    """Hears and forgets."""

    def ended(self, end: Ended, /) -> None:
        """Nothing."""

    def put_back(self, change: PutBack, /) -> None:
        """Nothing."""


@contextmanager
def told(engine: sa.Engine, observer: Observer) -> Iterator[sa.Connection]:
    """A transaction whose notes reach `observer` once it is committed, and nobody if it is not."""
    notes: list[Ended | PutBack] = []
    refunds: list[sa.Row[Any]] = []
    with engine.begin() as connection:
        info = connection.info  # of the pool, which outlives the transaction
        info[_NOTES], info[_REFUNDS] = notes, refunds
        try:
            yield connection
        finally:
            del info[_NOTES], info[_REFUNDS]
        give_back(connection, refunds)
    for change in notes:
        if isinstance(change, Ended):
            observer.ended(change)
        else:
            observer.put_back(change)


def note(connection: sa.Connection, change: Ended | PutBack) -> None:
    """Have what this transaction did told at its end, where it is one of `told`."""
    notes = connection.info.get(_NOTES)
    if notes is not None:
        notes.append(change)


def refund(connection: sa.Connection, job: sa.Row[Any]) -> None:
    """Have what a job was counted for given back at this transaction's end, where it is one of `told`; else now."""
    refunds = connection.info.get(_REFUNDS)
    if refunds is None:
        give_back(connection, [job])
    else:
        refunds.append(job)


def outcome(state: Terminal, problem: Mapping[str, Any] | None) -> Outcome:
    """Whose fault an end is."""
    if state != "failed":
        return state
    error = ServeError.from_problem(problem or {})
    if isinstance(error, DeadlineMissed):
        return "late"
    return "refused" if error.status < 500 else "failed"
