"""What keeps an artifact, and how one goes: results expire, and bytes that nothing rests on any more are deleted.

Rows go, too (`Kept`): so that each table is as large as what is kept in it, and not as the platform is old.

Keys are digests, so the bytes that one job leaves behind may be put again by the next at any moment, and a store of
artifacts can neither lock a key nor delete it on a condition. So rows decide:

- `holds`: which job rests on which key. Written in the transaction that commits its holder.
- `condemned`: keys that nothing holds and that are to be deleted; with a token those that are being deleted now.
- `swept`: keys of deletions that are over, numbered in the order of their ends.

A key goes through four steps. It is condemned (C), in a transaction that looks for holds. A sweeper takes it (T), in
one that gives it a token of this deletion. Its bytes are deleted (D). It is swept (S), in a transaction that takes it
out of `condemned`. Whoever commits a hold read the number of the last sweep (the mark) before it put the bytes, or
found them there; in the transaction of the hold (H) it looks for the key in both tables. H comes before or after each
of C, T and S, never beside one: SQLite's writers come one after the other; on PostgreSQL C takes the table of holds,
and T and S the key's row in `condemned`. Say P is the put, or the moment in which the bytes were found:

- H before C: the hold is seen, and the key is not condemned.
- H between C and T: H takes the key out of `condemned`. T does not find it, so there is no D.
- H between T and S: refused (`ArtifactsSwept`), because D may come at any moment.
- H after S, P before D: the mark is older than S: refused. The bytes are gone.
- H after S, P after D: the bytes are there. Refused once if the mark was read before S.

So a key that is condemned keeps nobody waiting, whether there is a sweeper or not; one that is being deleted does for
the moment of its deletion. A deletion that failed may yet have been done: it is swept as well, but stays condemned, is
put off behind the others, and may be held again, by who put the bytes after that.

Who is refused reads a new mark, puts the bytes again and tries again; a dispatcher does so with the job's next attempt.
No clock is in this, but that sweeps are forgotten after a week; that orphans must have some age to be condemned only
keeps work small.

What remains is a sweeper that stands still between T and D. When its lock has run out, another takes its keys: T again,
with another token, then D and S. Then bytes may be put and held, and the first, going on, must not delete them. So it
looks immediately before D whether the tokens in the rows are still its own. In a folder that look and D are one step:
who takes it has the folder's lock, which ends with its process and not before, and without it the other's D fails. In a
blob container D ends within `artifacts.DELETION_S` of the look, or its process stands still in between; the lock in the
database, kept in the same look, lasts for longer than that.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from serve.errors import Overloaded
from serve.jobs import idempotency
from serve.jobs.database import durable, repeated, upsert
from serve.jobs.quotas import DAY_S, day
from serve.jobs.schema import audit, condemned, deliveries, holds, jobs, rates, spent, swept, usage

_MARK = sa.select(sa.func.max(swept.c.id))
_KEYS: sa.BindParameter[str] = sa.bindparam("keys", expanding=True)
_DOOMED = sa.union_all(
    sa.select(condemned.c.key, condemned.c.token.is_(None).label("spare")).where(condemned.c.key.in_(_KEYS)),
    sa.select(swept.c.key, sa.false()).where(swept.c.key.in_(_KEYS), swept.c.id > sa.bindparam("since")),
)
_SPARE = sa.delete(condemned).where(
    condemned.c.key.in_(  # in order: two who wait for each other's rows would wait for ever
        sa.select(condemned.c.key)
        .where(condemned.c.key.in_(_KEYS), condemned.c.token.is_(None))
        .order_by(condemned.c.key)
        .with_for_update()
    )
)

KEPT_S = 7 * DAY_S
"""How long a sweep is remembered: longer than any attempt of a job, or any request, may take."""

PUT_OFF_S = 3600.0
"""After which an artifact that could not be deleted is tried again."""

TAKEN = 32
"""Keys that are deleted together: all of them keep who holds them waiting until the last one is gone."""

SPENT_KEPT_S = 31 * DAY_S
"""How long it is remembered what a team took in a day; what a job gives back later is given to nobody."""

RATES_KEPT_S = DAY_S
"""How long a rate is remembered that has come back whole."""


@dataclass(frozen=True, slots=True)
class Kept:
    """How long rows are kept, in seconds; `math.inf` is for ever.

    Attributes:
        jobs: A job's row with its events and its webhook's delivery, from the expiry of its result on. A delivery that
            is still to be made keeps them.
        usage: What was made for whom, from the job's end on.
        audit: What was done with teams and keys.
    """

    jobs: float = 90 * DAY_S
    usage: float = math.inf
    audit: float = math.inf


DEFAULTS = Kept()


class ArtifactsSwept(Overloaded):
    """Bytes that were put, or found, may have been deleted since: put them again."""

    def __init__(self, keys: Collection[str]) -> None:
        super().__init__("An artifact was being deleted; try again.", retry_after_s=1)
        self.keys = frozenset(keys)

    def __reduce__(self) -> tuple[type[ArtifactsSwept], tuple[frozenset[str]]]:
        return type(self), (self.keys,)


@dataclass(frozen=True, slots=True)
class Deletion:
    """What one sweeper deletes now.

    Attributes:
        keys: Of artifacts.
        token: Stands in the keys' rows for as long as no other sweeper takes them.
    """

    keys: tuple[str, ...]
    token: str


class Retention:
    """The expiry of a database's results, and the artifacts that are free to go.

    Args:
        engine: From `open_database`.
        clock: Epoch seconds.
        kept: How long rows are.
    """

    def __init__(self, engine: sa.Engine, clock: Callable[[], float], kept: Kept = DEFAULTS) -> None:
        self._kept = kept
        self._reads = engine
        self._writes = durable(engine)
        self._clock = clock

    def mark(self) -> int:
        """The number of the last sweep: read it before bytes are put, or looked for, that a row will hold."""
        with self._reads.connect() as connection:
            return mark(connection)

    @repeated
    def expire(self, limit: int = 100) -> int:
        """End the time of up to `limit` jobs, and condemn the artifacts that only they held.

        A job keeps its state and loses its result.

        Returns:
            How many there were.
        """
        with self._writes.begin() as connection:
            _alone(connection)
            now = self._clock()
            late = (
                sa.select(jobs.c.id)
                .where(jobs.c.expired_at.is_(None), jobs.c.expires_at <= now)
                .order_by(jobs.c.expires_at)
                .limit(limit)
                .with_for_update(skip_locked=True)
            )
            job_ids = list(connection.scalars(late))
            connection.execute(sa.update(jobs).where(jobs.c.id.in_(job_ids)).values(result=None, expired_at=now))
            released = connection.scalars(sa.delete(holds).where(holds.c.holder.in_(job_ids)).returning(holds.c.key))
            _condemn(connection, set(released), now)
        return len(job_ids)

    @repeated
    def forget(self, limit: int = 100) -> int:
        """Drop rows whose time is over, up to `limit` of each of the tables that grow with the work.

        Returns:
            How many went.
        """
        with self._writes.begin() as connection:
            return sum(connection.execute(old).rowcount for old in self._old(self._clock(), limit))

    def _old(self, now: float, limit: int) -> Iterator[sa.Delete]:
        yield idempotency.old(now, limit)
        yield _old_jobs(now - self._kept.jobs, limit)
        yield _oldest(usage, usage.c.job_id, now - self._kept.usage, limit)
        yield _oldest(audit, audit.c.id, now - self._kept.audit, limit)
        yield _oldest(swept, swept.c.id, now - KEPT_S, limit)
        yield sa.delete(spent).where(spent.c.day < day(now - SPENT_KEPT_S))
        yield sa.delete(rates).where(rates.c.due <= now - RATES_KEPT_S)

    @repeated
    def condemn(self, keys: Sequence[str]) -> int:
        """Condemn those of `keys` that nothing holds: artifacts that were put for a row which never came.

        Returns:
            How many are newly condemned.
        """
        with self._writes.begin() as connection:
            _alone(connection)
            return _condemn(connection, set(keys), self._clock())

    @repeated
    def take(self, limit: int = TAKEN) -> Deletion:
        """Begin to delete up to `limit` condemned keys, those of a sweeper that stopped included.

        For whoever has the sweeper's lock.
        """
        token = secrets.token_hex(16)
        with self._writes.begin() as connection:
            due = (
                sa.select(condemned.c.key)
                .where(condemned.c.token.is_not(None) | (condemned.c.at <= self._clock()))
                .order_by(condemned.c.at)
                .limit(limit)
                .with_for_update(skip_locked=True)  # who has one locked is about to hold it
            )
            if keys := tuple(connection.scalars(due)):
                connection.execute(sa.update(condemned).where(condemned.c.key.in_(keys)).values(token=token))
        return Deletion(keys, token)

    def taken(self, deletion: Deletion) -> frozenset[str]:
        """Those of its keys that no other sweeper has taken meanwhile: look immediately before they are deleted."""
        with self._reads.connect() as connection:
            mine = condemned.c.key.in_(deletion.keys) & (condemned.c.token == deletion.token)
            return frozenset(connection.scalars(sa.select(condemned.c.key).where(mine)))

    @repeated
    def swept(self, deletion: Deletion, gone: Collection[str], failed: Collection[str] = ()) -> int:
        """Record the end of a deletion; what another sweeper has taken meanwhile is left to it.

        Args:
            deletion: From `take`.
            gone: Those of its keys whose bytes were deleted.
            failed: Those whose bytes may still be there: they are tried again after `PUT_OFF_S`.

        Returns:
            How many keys are done with.
        """
        with self._writes.begin() as connection:
            now = self._clock()
            mine = condemned.c.token == deletion.token
            put_off = sa.update(condemned).where(mine, condemned.c.key.in_(list(failed)))
            done = sa.delete(condemned).where(mine, condemned.c.key.in_(list(gone)))
            tried = list(connection.scalars(done.returning(condemned.c.key)))
            deleted = len(tried)
            tried += connection.scalars(put_off.values(token=None, at=now + PUT_OFF_S).returning(condemned.c.key))
            if tried:
                connection.execute(sa.insert(swept), [{"key": key, "at": now} for key in tried])
        return deleted


def mark(connection: sa.Connection) -> int:
    """The number of the last sweep."""
    return connection.scalar(_MARK) or 0


def hold(connection: sa.Connection, holder: str, keys: Collection[str], since: int) -> None:
    """Let the job that this transaction commits rest on artifacts.

    Args:
        connection: In a transaction.
        holder: Its id.
        keys: Of artifacts that are there.
        since: The mark that was read before they were put or found.

    Raises:
        ArtifactsSwept: Some may be gone again.
    """
    if not keys:
        return
    rows = [{"key": key, "holder": holder} for key in sorted(keys)]
    connection.execute(upsert(connection, holds).on_conflict_do_nothing(), rows)  # first: it waits for `_alone`
    sought = {"keys": list(keys), "since": since}
    doomed = connection.execute(_DOOMED, sought).all()
    if any(row.spare for row in doomed):
        connection.execute(_SPARE, {"keys": list(keys)})
        doomed = connection.execute(_DOOMED, sought).all()  # a sweeper may have been faster
    if doomed:
        raise ArtifactsSwept({row.key for row in doomed})


def _old_jobs(until: float, limit: int) -> sa.Delete:
    """Of results that expired by then; events and deliveries go with their job."""
    waits = sa.exists().where(deliveries.c.job_id == jobs.c.id, deliveries.c.state == "pending")
    old = sa.select(jobs.c.id).where(jobs.c.expired_at <= until, ~waits).order_by(jobs.c.expired_at).limit(limit)
    return sa.delete(jobs).where(jobs.c.id.in_(old.with_for_update(skip_locked=True)))


def _oldest(table: sa.Table, key: sa.ColumnElement[Any], until: float, limit: int) -> sa.Delete:
    """Of the rows with the least keys, which are made in the order of time, those `at` then or before.

    So that a table that is kept for ever is not read, and needs no index of its own for this.
    """
    first = sa.select(key.label("key"), table.c.at).order_by(key).limit(limit).subquery()
    return sa.delete(table).where(key.in_(sa.select(first.c.key).where(first.c.at <= until)))


def _alone(connection: sa.Connection) -> None:
    """Let nobody commit a hold until this transaction ends; SQLite's writers are alone anyway."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("LOCK TABLE holds IN SHARE ROW EXCLUSIVE MODE")


def _condemn(connection: sa.Connection, keys: set[str], now: float) -> int:
    free = keys - set(connection.scalars(sa.select(holds.c.key).where(holds.c.key.in_(keys))))
    if not free:
        return 0
    rows = [{"key": key, "at": now, "token": None} for key in sorted(free)]
    fresh = free - set(connection.scalars(sa.select(condemned.c.key).where(condemned.c.key.in_(free))))
    connection.execute(upsert(connection, condemned).on_conflict_do_nothing(), rows)
    return len(fresh)
