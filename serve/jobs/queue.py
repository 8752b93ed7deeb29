"""What the fair order is decided by, as it is in the store: turns, weights, what waits and what runs."""

from __future__ import annotations

from functools import cache
from typing import Any

import sqlalchemy as sa

from serve.jobs.fairness import PRIORITIES, Backlog, Head, Priority, Queue, Turn, charge
from serve.jobs.pace import Pace
from serve.jobs.prediction import Running
from serve.jobs.schema import jobs, paces, tenants, turns

FRESH_S = 600.0
"""Seconds after which a sampler that nothing was heard of is gone."""

QUEUED = jobs.c.state == "queued"
"""Rows that wait for a worker."""

ORDINARY = QUEUED & ~jobs.c.suspect
"""Those that run beside others."""


def _sampled(of: sa.FromClause) -> sa.ColumnElement[bool]:
    # What has no price at all is of an api of before there were prices, and is told from a map by that.
    return (of.c.rows > 0) | (of.c.gflop == 0)


SAMPLED = _sampled(jobs)
"""Those of jobs that need a sampler; the others only make control maps, and have a price for that."""

_WAITING = (
    sa.select(
        jobs.c.tenant,
        jobs.c.priority,
        sa.func.count(),
        sa.func.sum(jobs.c.rows),
        sa.func.sum(jobs.c.gflop),
        sa.func.min(jobs.c.created_at),
    )
    .where(QUEUED)
    .group_by(jobs.c.tenant, jobs.c.priority)
)
_RUNNING = (
    sa.select(jobs.c.rows, jobs.c.gflop, jobs.c.started_at)
    .where(jobs.c.state == "running", jobs.c.rows > 0)
    .order_by(jobs.c.started_at, jobs.c.id)
)
_SERVING = (
    sa.select(jobs.c.tenant, sa.func.sum(jobs.c.gflop).label("gflop"))
    .where(jobs.c.state == "running")
    .group_by(jobs.c.tenant)
)
_TURNS = sa.select(turns.c.tenant, turns.c.served, turns.c.waiting, turns.c.overtaken)
_WEIGHTS = sa.select(tenants.c.name, tenants.c.weight)
_HELD = sa.select(jobs.c.tenant).where(QUEUED, SAMPLED).distinct()
_PACES = sa.select(paces.c.fixed, paces.c.per_gflop, paces.c.gflop, paces.c.rows)


def read_queue(connection: sa.Connection) -> Queue:
    """What the order is decided by."""
    return Queue(
        turns={row.tenant: Turn(row.served, bool(row.waiting), row.overtaken) for row in connection.execute(_TURNS)},
        weights={row.name: row.weight for row in connection.execute(_WEIGHTS)},
        serving={row.tenant: row.gflop for row in connection.execute(_SERVING)},
    )


def read_waiting(connection: sa.Connection) -> dict[tuple[str, str], Backlog]:
    """All that waits, by team and priority."""
    found = connection.execute(_WAITING).all()
    return {
        (tenant, priority): Backlog(count, int(rows), gflop, oldest)
        for tenant, priority, count, rows, gflop, oldest in found
    }


def read_running(connection: sa.Connection, now: float) -> list[Running]:
    """All that was started and takes seats, the first first."""
    found = connection.execute(_RUNNING).all()
    return [Running(row.rows, row.gflop, max(0.0, now - row.started_at)) for row in found]


def read_paces(connection: sa.Connection, now: float) -> list[Pace]:
    """Of the samplers that were heard of lately."""
    found = connection.execute(_PACES.where(paces.c.at > now - FRESH_S)).all()
    return [Pace(row.fixed, row.per_gflop, row.gflop, row.rows) for row in found]


def read_held(connection: sa.Connection) -> set[str]:
    """Teams with jobs that wait and need a sampler."""
    return set(connection.scalars(_HELD))


def read_heads(connection: sa.Connection, most: int, images: bool = True) -> dict[str, list[Head]]:
    """Each waiting team's first jobs, up to `most` of each priority, the oldest first; suspects are none of them.

    However many wait: the index is entered once for each team and priority, and left after `most`. Where only jobs that
    need no sampler are looked for, it is read on past those that do.
    """
    found = connection.execute(_heads(connection.dialect.name, images), {"most": most})
    heads: dict[str, list[Head]] = {}
    for row in sorted(found, key=lambda row: (row.created_at, row.id)):
        price = charge(row.gflop, row.attempt == 0)
        heads.setdefault(row.tenant, []).append(Head(row.id, row.tenant, row.created_at, row.rows, price, row.priority))
    return heads


def read_first(connection: sa.Connection, tenant: str, priority: Priority, most: int) -> Backlog:
    """The sums of a team's oldest `most` jobs of a priority."""
    return _backlog(connection, _line(tenant, priority).order_by(jobs.c.created_at, jobs.c.id).limit(most))


def read_older(connection: sa.Connection, tenant: str, priority: Priority, created_at: float, job_id: str) -> Backlog:
    """The sums of a team's jobs of a priority that came before one."""
    place = sa.tuple_(jobs.c.created_at, jobs.c.id) < sa.tuple_(sa.literal(created_at), sa.literal(job_id))
    return _backlog(connection, _line(tenant, priority).where(place))


def _line(tenant: str, priority: Priority) -> sa.Select[Any]:
    wanted = sa.select(jobs.c.rows, jobs.c.gflop, jobs.c.created_at)
    return wanted.where(QUEUED, jobs.c.tenant == tenant, jobs.c.priority == priority)


def _backlog(connection: sa.Connection, line: sa.Select[Any]) -> Backlog:
    some = line.subquery().c
    sums = sa.func.count(), sa.func.sum(some.rows), sa.func.sum(some.gflop), sa.func.min(some.created_at)
    count, rows, gflop, oldest = connection.execute(sa.select(*sums)).one()
    return Backlog(count, int(rows), gflop, oldest) if count else Backlog()


@cache  # built once a dialect: putting it together costs more than running it
def _heads(dialect: str, images: bool) -> sa.Select[Any]:
    """One entry into `jobs_by_turn` for each team and priority.

    PostgreSQL does so by LATERAL, which SQLite lacks; SQLite by a subquery that depends on the row outside, which
    PostgreSQL would run for each pair of rows.
    """
    first = sa.select(sa.func.min(jobs.c.tenant).label("tenant")).where(QUEUED).cte("teams", recursive=True)
    following = sa.select(sa.func.min(jobs.c.tenant)).where(QUEUED, jobs.c.tenant > first.c.tenant).scalar_subquery()
    teams = first.union_all(sa.select(following).where(first.c.tenant.is_not(None)))
    kinds = sa.union_all(*(sa.select(sa.literal(name).label("priority")) for name in PRIORITIES)).cte("kinds")
    columns = ("id", "tenant", "priority", "created_at", "rows", "gflop", "attempt")
    line = jobs.alias("line")
    front = (
        sa.select(*(line.c[name] for name in columns))
        .where(line.c.state == "queued", line.c.tenant == teams.c.tenant, line.c.priority == kinds.c.priority)
        .where(~line.c.suspect, sa.true() if images else ~_sampled(line))
        .order_by(line.c.created_at, line.c.id)
        .limit(sa.bindparam("most", type_=sa.Integer))
        .correlate(teams, kinds)
    )
    both = teams.join(kinds, sa.true())
    if dialect == "postgresql":
        heads = front.lateral("heads")
        return sa.select(*heads.c).select_from(both.join(heads, sa.true()))
    ids = front.with_only_columns(line.c.id)
    return sa.select(*(jobs.c[name] for name in columns)).select_from(both.join(jobs, jobs.c.id.in_(ids)))
