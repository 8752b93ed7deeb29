"""Where a job stands among those that wait, and when it would be done: one look at the queue, and no row of it read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from serve.jobs.claiming import cost_of
from serve.jobs.cost import Cost
from serve.jobs.fairness import PRIORITIES, Backlog, Head, Priority, ahead, charge
from serve.jobs.prediction import Capacity, predicted_s
from serve.jobs.queue import (
    QUEUED,
    read_paces,
    read_queue,
    read_running,
    read_waiting,
)
from serve.jobs.schema import jobs


@dataclass(frozen=True, slots=True)
class Standing:
    """Of a job that waits.

    Attributes:
        position: How many jobs start before it if nobody sends anything more. Exact inside its team; of other teams'
            jobs it is as many as the fair order lets by, were each team's of one size.
        predicted_s: Seconds until it is done; none while no sampler has been measured.
        alone_s: Seconds that it takes if nothing else is there; likewise.
    """

    position: int
    predicted_s: float | None = None
    alone_s: float | None = None


def standing(connection: sa.Connection, job_id: str, now: float) -> Standing | None:
    """Of a queued job; none where it does not wait (any more)."""
    row = connection.execute(sa.select(jobs).where(QUEUED, jobs.c.id == job_id)).one_or_none()
    if row is None:
        return None
    place = sa.tuple_(jobs.c.created_at, jobs.c.id) < sa.tuple_(sa.literal(row.created_at), sa.literal(row.id))
    older = sa.select(
        sa.func.count(),
        sa.func.coalesce(sa.func.sum(jobs.c.rows), 0),
        sa.func.coalesce(sa.func.sum(jobs.c.gflop), 0.0),
        sa.func.min(jobs.c.created_at),
    ).where(QUEUED, jobs.c.tenant == row.tenant, jobs.c.priority == row.priority, place)
    count, rows, gflop, oldest = connection.execute(older).one()
    mine = Backlog(count, int(rows), gflop, oldest) if count else Backlog()
    head = Head(row.id, row.tenant, row.created_at, row.rows, charge(row.gflop, row.attempt == 0))
    return _stand(connection, head, row.priority, mine, cost_of(row), now)


def outlook(connection: sa.Connection, tenant: str, priority: Priority, cost: Cost, now: float) -> Standing:
    """Of a job that would come now."""
    head = Head("", tenant, now, cost.rows, charge(cost.gflop, first=True))
    return _stand(connection, head, priority, None, cost, now)


def _stand(
    connection: sa.Connection, head: Head, priority: Priority, same: Backlog | None, cost: Cost, now: float
) -> Standing:
    """A job's standing.

    Args:
        connection: For reading.
        head: The job.
        priority: Its own.
        same: What waits of its team and priority and is older; none where all is.
        cost: What it was priced at.
        now: Epoch seconds.
    """
    waiting = read_waiting(connection)
    before = waiting.get((head.tenant, priority), Backlog()) if same is None else same
    for urgent in PRIORITIES[: PRIORITIES.index(priority)]:
        before += waiting.get((head.tenant, urgent), Backlog())
    total = ahead(read_queue(connection), _by_team(waiting), before, head)
    capacity = Capacity.of(read_paces(connection, now))
    if capacity is None or not cost.rows:  # a map needs no sampler
        return Standing(total.jobs)
    seconds = predicted_s(capacity, read_running(connection, now), total, cost)
    return Standing(total.jobs, seconds, capacity.own_s(cost, busy_rows=0))


def _by_team(waiting: Mapping[tuple[str, str], Backlog]) -> dict[str, Backlog]:
    teams: dict[str, Backlog] = {}
    for (tenant, _), backlog in waiting.items():
        teams[tenant] = teams.get(tenant, Backlog()) + backlog
    return teams
