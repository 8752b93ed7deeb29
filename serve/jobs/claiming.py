"""How jobs are started: the fair order of `fairness`, in one transaction with the turns that follow from it.

Of several dispatchers one claims at a time: on PostgreSQL the table of turns is locked first (SQLite's writers are
alone anyway), or two would start by the same counters. Submitting, cancelling and whatever workers write go on
meanwhile: a job that is cancelled between the look at it and its start is not started, and not charged.

A job whose deadline can't be met any more is ended before it is started, at no charge. One that was started is never
late, whatever became of that attempt.

Suspects, whose worker died, are in no order: `claim_suspect` takes them one by one, to be run alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import sqlalchemy as sa

from serve.errors import DeadlineMissed
from serve.jobs.cost import Cost
from serve.jobs.database import upsert
from serve.jobs.fairness import Head, Plan, plan
from serve.jobs.job import Lease
from serve.jobs.prediction import Capacity
from serve.jobs.queue import ORDINARY, QUEUED, SAMPLED, read_heads, read_held, read_paces, read_queue, read_running
from serve.jobs.retention import mark
from serve.jobs.schema import jobs, turns
from serve.jobs.transitions import EXPIRED, finish, put_back_expired, read, record, recover

MOST_LATE = 100
"""Jobs that are ended at once for being late."""

# Built once: putting a statement together costs more than running it.
_WORK = {
    images: sa.select(jobs.c.id).where(wanted | EXPIRED).limit(1)
    for images, wanted in ((True, ORDINARY), (False, ORDINARY & ~SAMPLED))
}
_READY = QUEUED & jobs.c.suspect & (jobs.c.not_before <= sa.bindparam("now"))
_SUSPECTS = {
    images: sa.select(jobs.c.id).where(_READY & wanted).order_by(jobs.c.not_before, jobs.c.id).limit(1)
    for images, wanted in ((True, sa.true()), (False, ~SAMPLED))
}
_UNSTARTED = jobs.c.started_at.is_(None)
_LATE = (
    sa.select(jobs.c.id)
    .where(QUEUED, _UNSTARTED, jobs.c.deadline.is_not(None), jobs.c.deadline <= sa.bindparam("now"))
    .limit(MOST_LATE)
)
_LATE_AND_FREE = _LATE.with_for_update(skip_locked=True)  # of the others somebody is making an end
_LOCK = (
    sa.select(jobs.c.id, jobs.c.deadline, jobs.c.started_at, jobs.c.spec, jobs.c.rows, jobs.c.gflop)
    .where(jobs.c.id.in_(sa.bindparam("ids", expanding=True)) & QUEUED)
    .with_for_update(skip_locked=True)
)
_START = (
    sa.update(jobs)
    .where(jobs.c.id.in_(sa.bindparam("ids", expanding=True)))
    .values(
        state="running",
        attempt=jobs.c.attempt + 1,
        fence=jobs.c.fence + 1,
        lease_owner=sa.bindparam("owner"),
        lease_until=sa.bindparam("until"),
        started_at=sa.func.coalesce(jobs.c.started_at, sa.bindparam("now")),
    )
    .returning(*jobs.c)
)


def work(connection: sa.Connection, owner: str, now: float, images: bool = True) -> bool:
    """Whether `owner`'s claim would find anything; a read that is cheap enough for every wake-up."""
    return connection.scalar(_WORK[images], {"now": now, "owner": owner}) is not None


def suspects(connection: sa.Connection, now: float, images: bool = True) -> bool:
    """Whether a suspect may be started; without `images` only one that needs no sampler."""
    return connection.scalar(_SUSPECTS[images], {"now": now}) is not None


def late(connection: sa.Connection, now: float) -> Sequence[str]:
    """Ids of jobs that wait though their deadline has passed."""
    return connection.scalars(_LATE, {"now": now}).all()


def claim(
    connection: sa.Connection,
    owner: str,
    lease_s: float,
    room: int,
    clock: Callable[[], float],
    images: bool = True,
    silent: bool = True,
) -> list[Lease]:
    """Start jobs in the fair order while there is room, in UNet rows; each is `owner`'s for `lease_s` seconds.

    Without `images` those that need a sampler stay where they are, and so do their teams' turns. Without `silent` so do
    those whose lease ran out.
    """
    _one_at_a_time(connection)
    now = clock()
    since = mark(connection)
    if silent:
        put_back_expired(connection, owner, now)
    end_late(connection, now)
    wanted = _plan(connection, room, now, images)
    started = _start(connection, [head.id for head in wanted.started], owner, lease_s, now)
    _write_turns(connection, wanted)
    return _leases(started, owner, since)


def claim_suspect(
    connection: sa.Connection, owner: str, lease_s: float, clock: Callable[[], float], images: bool = True
) -> Lease | None:
    """Start the suspect that has been ready longest, if one is; its first start was charged."""
    _one_at_a_time(connection)
    now = clock()
    since = mark(connection)
    job_id = connection.scalar(_SUSPECTS[images].with_for_update(skip_locked=True), {"now": now})
    if job_id is None:
        return None
    (lease,) = _leases(_start(connection, [job_id], owner, lease_s, now), owner, since)
    return lease


def claim_unknown(
    connection: sa.Connection, owner: str, lease_s: float, held: Collection[str], clock: Callable[[], float]
) -> list[Lease]:
    """The running jobs of `owner` that it does not hold: it was not told of their start, or could not end them."""
    now = clock()
    since = mark(connection)
    return _leases(recover(connection, owner, held, now + lease_s, now), owner, since)


def end_late(connection: sa.Connection, now: float) -> None:
    """End jobs whose deadline has passed while they waited, but for those that are being ended otherwise."""
    for job_id in connection.scalars(_LATE_AND_FREE, {"now": now}).all():
        _miss(connection, job_id, now)


def _plan(connection: sa.Connection, room: int, now: float, images: bool) -> Plan:
    """The policy over the heads whose rows this transaction could lock, without those that would be late."""
    queue = read_queue(connection)
    held = frozenset[str]() if images else read_held(connection)
    without: set[str] = set()  # being cancelled, or ended here
    while True:
        heads = read_heads(connection, room + 1 + len(without), images)
        lines = {tenant: [head for head in line if head.id not in without] for tenant, line in heads.items()}
        wanted = plan(queue, {tenant: line for tenant, line in lines.items() if line}, room, held)
        locked = _lock(connection, wanted.started)
        hopeless = _hopeless(connection, locked, now)
        for job_id in hopeless:
            _miss(connection, job_id, now)
        lost = {head.id for head in wanted.started} - {row.id for row in locked} | set(hopeless)
        if not lost:
            return wanted
        without |= lost


def _lock(connection: sa.Connection, heads: Sequence[Head]) -> Sequence[sa.Row[Any]]:
    """The rows of jobs that still wait and that nobody is about to cancel; theirs to keep until the end."""
    if not heads:
        return ()
    return tuple(connection.execute(_LOCK, {"ids": [head.id for head in heads]}))


def _hopeless(connection: sa.Connection, locked: Sequence[sa.Row[Any]], now: float) -> list[str]:
    """Those that would not meet their deadline if they were started now, and never were before."""
    urgent = [row for row in locked if row.deadline is not None and row.started_at is None]
    capacity = Capacity.of(read_paces(connection, now)) if urgent else None
    if capacity is None:
        return []
    busy = sum(job.rows for job in read_running(connection, now))
    return [row.id for row in urgent if now + capacity.own_s(cost_of(row), busy) > row.deadline]


def cost_of(row: sa.Row[Any]) -> Cost:
    """What a row's job was priced at."""
    steps = row.spec["steps"]
    return Cost(row.rows, row.gflop, steps, row.gflop / steps if steps else 0.0)


def _miss(connection: sa.Connection, job_id: str, now: float) -> None:
    error = DeadlineMissed("The deadline could not be met any more, so the job was not started.")
    finish(connection, (jobs.c.id == job_id) & QUEUED, "failed", now, error.problem())


def _start(
    connection: sa.Connection, ids: Sequence[str], owner: str, lease_s: float, now: float
) -> Sequence[sa.Row[Any]]:
    """Make jobs the owner's, and tell of it; their rows, in the order of `ids`."""
    if not ids:
        return ()
    values = {"ids": ids, "owner": owner, "until": now + lease_s, "now": now}
    rows = {row.id: row for row in connection.execute(_START, values)}
    for job_id in ids:
        record(connection, job_id, "started", {"attempt": rows[job_id].attempt}, now)
    return [rows[job_id] for job_id in ids]


def _leases(rows: Sequence[sa.Row[Any]], owner: str, since: int) -> list[Lease]:
    """The owner's, of jobs that run; `since` is the mark that was read before."""
    return [Lease(read(row), owner, row.fence, row.attempt, since) for row in rows]


def _write_turns(connection: sa.Connection, wanted: Plan) -> None:
    rows = [
        {"tenant": tenant, "served": turn.served, "waiting": turn.waiting, "overtaken": turn.overtaken}
        for tenant, turn in sorted(wanted.turns.items())
    ]
    if rows:
        write = upsert(connection, turns)
        values = {name: write.excluded[name] for name in ("served", "waiting", "overtaken")}
        connection.execute(write.on_conflict_do_update(index_elements=["tenant"], set_=values), rows)


def _one_at_a_time(connection: sa.Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("LOCK TABLE turns IN SHARE ROW EXCLUSIVE MODE")
