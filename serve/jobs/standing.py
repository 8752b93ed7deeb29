"""Where a job stands among those that wait, and when it would be done: one look at the queue, and no row of it read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from serve.jobs.claiming import cost_of
from serve.jobs.cost import Cost
from serve.jobs.fairness import PRIORITIES, Backlog, Head, Priority, Turn, ahead, charge, others_before
from serve.jobs.prediction import Capacity, predicted_s
from serve.jobs.queue import (
    QUEUED,
    read_first,
    read_older,
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
    older = read_older(connection, row.tenant, row.priority, row.created_at, row.id)
    head = Head(row.id, row.tenant, row.created_at, row.rows, charge(row.gflop, row.attempt == 0), row.priority)
    return _stand(connection, head, older, cost_of(row), now)


def outlook(connection: sa.Connection, tenant: str, priority: Priority, cost: Cost, now: float) -> Standing:
    """Of a job that would come now."""
    head = Head("", tenant, now, cost.rows, charge(cost.gflop, first=True), priority)
    return _stand(connection, head, None, cost, now)


def _stand(connection: sa.Connection, head: Head, older: Backlog | None, cost: Cost, now: float) -> Standing:
    """A job's standing.

    Args:
        connection: For reading.
        head: The job.
        older: What waits of its team and priority and is older; none where all is.
        cost: What it was priced at.
        now: Epoch seconds.
    """
    waiting, queue = read_waiting(connection), read_queue(connection)
    before = waiting.get((head.tenant, head.priority), Backlog()) if older is None else older
    overtaken = queue.turns.get(head.tenant, Turn()).overtaken
    for other in set(PRIORITIES) - {head.priority}:
        all_others = waiting.get((head.tenant, other), Backlog())
        count = others_before(head.priority, before.jobs, all_others.jobs, overtaken)
        if count:
            some = count < all_others.jobs
            before += read_first(connection, head.tenant, other, count) if some else all_others
    total = ahead(queue, _by_team(waiting), before, head)
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
