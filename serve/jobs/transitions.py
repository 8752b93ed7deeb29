"""What may happen to a job's row, as statements inside a transaction that the store opened.

Each change of state writes its event in the same breath; an end writes, besides, the usage of what was made, the
webhook's delivery and when the result expires.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from serve.errors import JobFailed
from serve.jobs.changes import Ended, PutBack, Reason, note, outcome, refund
from serve.jobs.deliveries import announce
from serve.jobs.job import EventKind, Job, JobResult, Lease, ModelVersion, State, StoredImage, Terminal
from serve.jobs.retention import hold
from serve.jobs.schema import events, jobs
from serve.jobs.signals import notify
from serve.jobs.spec import JobSpec
from serve.jobs.usage import record_usage

# Built once: putting a statement together costs more than running it, and clients wait for both.
_NOW = sa.bindparam("now", type_=sa.Float)
_FIND = sa.select(jobs).where(jobs.c.id == sa.bindparam("job_id"))
_RECORD = sa.insert(events)
_STARTED = (
    sa.select(sa.func.max(events.c.id)).where(events.c.job_id == sa.bindparam("job_id"), events.c.kind == "started")
).scalar_subquery()
_WRITTEN = sa.select(events.c.data).where(
    events.c.job_id == sa.bindparam("job_id"), events.c.kind == sa.bindparam("what"), events.c.id > _STARTED
)
_END = (
    sa.update(jobs)
    .returning(*jobs.c)
    .values(
        state=sa.bindparam("end"),
        error=sa.bindparam("problem"),
        result=sa.bindparam("made"),
        finished_at=_NOW,
        expires_at=_NOW + jobs.c.retention,
        lease_owner=None,
        lease_until=None,
    )
)


class LeaseLost(Exception):
    """The job is no longer this worker's: stop working on it and write nothing more."""

    def __init__(self, lease: Lease) -> None:
        super().__init__(lease)
        self.lease = lease

    def __str__(self) -> str:
        return f"{self.lease.owner} lost {self.lease.job.id}: fence {self.lease.fence} is over"


EXPIRED = (jobs.c.state == "running") & (jobs.c.lease_until <= _NOW) & (jobs.c.lease_owner != sa.bindparam("owner"))
"""Rows whose worker went silent. What is the claimer's own is not: it lives, and renews."""

RESTS_S = (1.0, 10.0, 60.0)
"""Seconds for which a suspect waits at least: after the death that made it one, and after each that counted."""

MOST_DEATHS = len(RESTS_S)
"""Workers that may die while they run a job alone."""

_SILENT = sa.select(jobs).where(EXPIRED).with_for_update(skip_locked=True)
_OURS = (
    sa.select(jobs)
    .where(
        jobs.c.state == "running",
        jobs.c.lease_owner == sa.bindparam("owner"),
        jobs.c.id.not_in(sa.bindparam("held", expanding=True)),
    )
    .order_by(jobs.c.id)
    .with_for_update()
)
_AGAIN = (
    sa.update(jobs)
    .where(jobs.c.id == sa.bindparam("this"))
    .values(fence=jobs.c.fence + 1, lease_until=sa.bindparam("until"))
    .returning(*jobs.c)
)


def held(lease: Lease) -> sa.ColumnElement[bool]:
    """The guard on everything a worker writes."""
    return (jobs.c.id == lease.job.id) & (jobs.c.fence == lease.fence) & (jobs.c.state == "running")


def leased(connection: sa.Connection, lease: Lease) -> sa.Row[Any]:
    """The leased job's row, locked until the transaction ends.

    Raises:
        LeaseLost: The lease is over.
    """
    row = connection.execute(sa.select(jobs).where(held(lease)).with_for_update()).one_or_none()
    if row is None:
        raise LeaseLost(lease)
    return row


def find(connection: sa.Connection, job_id: str, tenant: str | None) -> Job | None:
    """The job, or None where there is none or it is not `tenant`'s."""
    row = connection.execute(_FIND, {"job_id": job_id}).one_or_none()
    return None if row is None or (tenant is not None and row.tenant != tenant) else read(row)


def record(connection: sa.Connection, job_id: str, kind: EventKind, data: Mapping[str, Any], now: float) -> None:
    """Add an event to the outbox, and wake who waits for it when it is committed."""
    connection.execute(_RECORD, {"job_id": job_id, "kind": kind, "data": data, "at": now})
    notify(connection)


def written(connection: sa.Connection, lease: Lease, kind: EventKind) -> Sequence[Mapping[str, Any]]:
    """What the events of a kind say that this attempt wrote; a write is repeated where its answer was lost."""
    return connection.scalars(_WRITTEN, {"job_id": lease.job.id, "what": kind}).all()


def tell_image(connection: sa.Connection, job_id: str, index: int, image: StoredImage, now: float) -> None:
    """Add the event of one image that is stored."""
    record(connection, job_id, "image", {"index": index, "image": asdict(image)}, now)


def finish(
    connection: sa.Connection,
    where: sa.ColumnElement[bool],
    state: Terminal,
    now: float,
    error: Mapping[str, Any] | None = None,
    result: Mapping[str, Any] | None = None,
    set_aside: bool = False,
) -> sa.Row[Any] | None:
    """Make the job that `where` names terminal; its row as it is then, none where it names none.

    Args:
        connection: Of a transaction.
        where: One job.
        state: How it ends.
        now: Epoch seconds.
        error: `ServeError.problem()` of one that failed.
        result: What one that succeeded made, as JSON.
        set_aside: No attempt is left.
    """
    values = {"end": state, "problem": error, "made": result, "now": now}
    row = connection.execute(_END.where(where), values).one_or_none()
    if row is None:
        return None
    if state == "failed" or (state == "cancelled" and row.attempt == 0):
        refund(connection, row)
    if row.webhook is not None:
        announce(connection, row, now)
    record(connection, row.id, state, {} if error is None else {"attempt": row.attempt, "problem": error}, now)
    note(connection, _ended(row, now, error, result, set_aside))
    return row


def _ended(
    row: sa.Row[Any],
    now: float,
    error: Mapping[str, Any] | None,
    result: Mapping[str, Any] | None,
    set_aside: bool,
) -> Ended:
    made = {} if result is None else {"images": len(result["images"]), "stages": result["timings"], "gflop": row.gflop}
    return Ended(row.tenant, outcome(row.state, error), now - row.created_at, set_aside, **made)


def succeed(connection: sa.Connection, lease: Lease, result: JobResult, now: float) -> bool:
    """End the leased job with what it made, and count that; False where the lease is over.

    Raises:
        ArtifactsSwept: What it made may be gone again.
    """
    data = result.to_json()
    row = finish(connection, held(lease), "succeeded", now, result=data)
    if row is None:
        return False
    hold(connection, row.id, result.keys, lease.mark)
    record_usage(connection, row, data, now)
    return True


def put_back(
    connection: sa.Connection, row: sa.Row[Any], problem: Mapping[str, Any], now: float, reason: Reason = "failure"
) -> State:
    """Queue a running job again in its old place, or end it. Only a `failure` counts: of `max_attempts`."""
    failures = row.failures + (reason == "failure")
    if failures >= row.max_attempts and reason == "failure" and not row.cancel_requested:
        finish(connection, jobs.c.id == row.id, "failed", now, error=problem, set_aside=True)
        return "failed"
    return _again(connection, row, problem, now, reason, {"failures": failures})


def put_back_suspect(
    connection: sa.Connection, row: sa.Row[Any], counts: bool, rest_s: float, error: str, now: float
) -> State:
    """Queue a running job whose worker died again, to be run alone; or end it, after the last death that may count.

    Args:
        connection: Of a transaction.
        row: Its row, locked.
        counts: Whether it was proven to be the job's doing.
        rest_s: Seconds for which it waits; at least those of `RESTS_S`.
        error: What happened, in a sentence.
        now: Epoch seconds.
    """
    deaths = row.deaths + counts
    if deaths >= MOST_DEATHS and counts and not row.cancel_requested:
        poison = JobFailed(
            f"{MOST_DEATHS} workers died while they ran this job and nothing else, though the same kind of worker then "
            "made a trial image: the job was set aside."
        )
        finish(connection, jobs.c.id == row.id, "failed", now, error=poison.problem(), set_aside=True)
        return "failed"
    rest_s = max(rest_s, RESTS_S[min(deaths, MOST_DEATHS - 1)])
    values = {"deaths": deaths, "suspect": True, "not_before": now + rest_s}
    return _again(connection, row, JobFailed(error).problem(), now, "death", values)


def _again(
    connection: sa.Connection,
    row: sa.Row[Any],
    problem: Mapping[str, Any],
    now: float,
    reason: Reason,
    values: Mapping[str, Any],
) -> State:
    this = jobs.c.id == row.id
    if row.cancel_requested:
        finish(connection, this, "cancelled", now)
        return "cancelled"
    again = {"state": "queued", "lease_owner": None, "lease_until": None, "progress": None}
    connection.execute(sa.update(jobs).where(this).values({**again, **values}))
    record(connection, row.id, "queued", {"attempt": row.attempt, "problem": problem}, now)
    note(connection, PutBack(row.tenant, reason))
    return "queued"


def put_back_expired(connection: sa.Connection, owner: str, now: float) -> None:
    """Queue again what the workers held that went silent and cannot ask for it; not what is `owner`'s own."""
    for row in connection.execute(_SILENT, {"now": now, "owner": owner}).all():
        error = JobFailed(f"The worker went silent during attempt {row.attempt}, which does not count.")
        put_back(connection, row, error.problem(), now, "lease")


def recover(
    connection: sa.Connection, owner: str, held: Collection[str], until: float, now: float
) -> Sequence[sa.Row[Any]]:
    """The rows that are running as `owner`'s and not among the ids in `held`, under new fences: it never knew of them.

    A suspect is queued again instead: it may not run beside others.
    """
    rows = connection.execute(_OURS, {"owner": owner, "held": sorted(held)}).all()
    error = JobFailed("The database did not say that the job was started.")
    for row in rows:
        if row.suspect:
            put_back(connection, row, error.problem(), now, "stop")
    return [connection.execute(_AGAIN, {"this": row.id, "until": until}).one() for row in rows if not row.suspect]


def read(row: sa.Row[Any]) -> Job:
    """What a row of `jobs` says."""
    return Job(
        id=row.id,
        tenant=row.tenant,
        state=row.state,
        spec=JobSpec.from_json(row.spec),
        model=ModelVersion(row.model_name, row.model_version, row.model_digest),
        attempt=row.attempt,
        progress=row.progress,
        result=None if row.result is None else JobResult.from_json(row.result),
        error=row.error,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        cancel_requested=row.cancel_requested,
        webhook=row.webhook,
        idempotency_key=row.idempotency_key,
        expires_at=row.expires_at,
        expired_at=row.expired_at,
        priority=row.priority,
        deadline=row.deadline,
        rows=row.rows,
        gflop=row.gflop,
        trace=row.trace,
    )
