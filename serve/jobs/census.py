"""How all that waits and runs stands, in a few numbers: for metrics and for an operator's screen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from serve.jobs.fairness import Backlog
from serve.jobs.queue import QUEUED, SAMPLED, read_waiting
from serve.jobs.schema import jobs

_RUNNING = sa.select(jobs.c.tenant, sa.func.count()).where(jobs.c.state == "running").group_by(jobs.c.tenant)
_WAITING = sa.select(
    sa.func.count().filter(SAMPLED),
    sa.func.coalesce(sa.func.sum(jobs.c.gflop).filter(SAMPLED), 0.0),
    sa.func.count().filter(~SAMPLED),
).where(QUEUED)
_OLDEST = sa.select(jobs.c.id).where(QUEUED).order_by(jobs.c.created_at, jobs.c.id).limit(1)


@dataclass(frozen=True, slots=True)
class Census:
    """The jobs that are not over.

    Attributes:
        queued: What waits, by tenant; no tenant without any.
        running: Jobs that dispatchers hold, by tenant.
        oldest: Id of the job that has waited longest; none where none waits.
        oldest_s: Since when, in seconds; 0 where none waits.
        overdue: Running jobs whose lease has run out: the next claim takes them over.
    """

    queued: Mapping[str, Backlog]
    running: Mapping[str, int]
    oldest: str | None
    oldest_s: float
    overdue: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits, by what it waits for.

    Attributes:
        jobs: That need a sampler.
        gflop: Their work.
        maps: Jobs that need imaging only.
    """

    jobs: int
    gflop: float
    maps: int


def waiting(connection: sa.Connection) -> Waiting:
    """Count what no dispatcher holds."""
    return Waiting(*connection.execute(_WAITING).one())


def census(connection: sa.Connection, now: float) -> Census:
    """Count."""
    queued: dict[str, Backlog] = {}
    for (tenant, _), backlog in read_waiting(connection).items():
        queued[tenant] = queued.get(tenant, Backlog()) + backlog
    running: dict[str, int] = dict(connection.execute(_RUNNING).all())
    overdue = sa.select(sa.func.count()).where(jobs.c.state == "running", jobs.c.lease_until <= now)
    oldest = min((backlog.oldest for backlog in queued.values()), default=now)
    return Census(queued, running, connection.scalar(_OLDEST), max(0.0, now - oldest), connection.scalar(overdue) or 0)
