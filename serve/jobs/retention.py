"""What keeps an artifact, and how one goes: results expire, and bytes that nothing rests on any more are deleted.

Keys are digests, so the bytes that one job leaves behind may be put again by the next at any moment, and a store of
artifacts can neither lock a key nor delete it on a condition. So rows decide:

- `holds`: which job rests on which key. Written in the transaction that commits its holder.
- `condemned`: keys that nothing holds and that are being deleted. Written in a transaction that looks for holds.
- `swept`: keys that were deleted, numbered in the order of their deletion.

A key is condemned, then its bytes are deleted, then it is swept. Whoever commits a hold read the number of the last
sweep (its mark) before it put the bytes, or found them there; and in the transaction of the hold it looks whether the
key is condemned, or was swept after its mark. The two kinds of transaction come one after the other (SQLite's writers
do; PostgreSQL's take the table of holds). Say P is the put, D the deletion and H the hold's transaction:

- H before the key is condemned: the hold is seen, and the key is not condemned.
- H while it is condemned: refused (`ArtifactsSwept`); D may come at any moment.
- H after it is swept, P before D: then the mark is older than the sweep: refused. The bytes are gone.
- H after it is swept, P after D: the bytes are there. Refused once if the mark was read before the sweep.

Who is refused reads a new mark, puts the bytes again and tries again; a dispatcher does so with the job's next attempt.
No clock is in this; that orphans must have some age to be condemned only keeps refusals rare. What remains is a sweeper
that stops between its look at `condemned` and its deletion for so long that another one sweeps the key: so there is
one at a time, by a lock that far outlives any call to the store of artifacts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import sqlalchemy as sa

from serve.errors import Overloaded
from serve.jobs import idempotency
from serve.jobs.database import durable, upsert
from serve.jobs.schema import condemned, holds, jobs, swept

_MARK = sa.select(sa.func.max(swept.c.id))
_KEYS: sa.BindParameter[str] = sa.bindparam("keys", expanding=True)
_LOST = sa.union(
    sa.select(condemned.c.key).where(condemned.c.key.in_(_KEYS)),
    sa.select(swept.c.key).where(swept.c.key.in_(_KEYS), swept.c.id > sa.bindparam("since")),
)

KEPT_S = 7 * 24 * 3600.0
"""How long a sweep is remembered: longer than any attempt of a job, or any request, may take."""


class ArtifactsSwept(Overloaded):
    """Bytes that were put, or found, may have been deleted since: put them again."""

    def __init__(self, keys: Collection[str]) -> None:
        super().__init__("An artifact was being deleted; try again.", retry_after_s=1)
        self.keys = frozenset(keys)

    def __reduce__(self) -> tuple[type[ArtifactsSwept], tuple[frozenset[str]]]:
        return type(self), (self.keys,)


class Retention:
    """The expiry of a database's results, and the artifacts that are free to go.

    Args:
        engine: From `open_database`.
        clock: Epoch seconds.
    """

    def __init__(self, engine: sa.Engine, clock: Callable[[], float]) -> None:
        self._reads = engine
        self._writes = durable(engine)
        self._clock = clock

    def mark(self) -> int:
        """The number of the last sweep: read it before bytes are put, or looked for, that a row will hold."""
        with self._reads.connect() as connection:
            return mark(connection)

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

    def forget(self) -> None:
        """Drop what nobody will ask for any more: idempotency keys and sweeps of long ago."""
        with self._writes.begin() as connection:
            now = self._clock()
            idempotency.forget(connection, now)
            connection.execute(sa.delete(swept).where(swept.c.at <= now - KEPT_S))

    def condemn(self, keys: Sequence[str]) -> int:
        """Condemn those of `keys` that nothing holds: artifacts that were put for a row which never came.

        Returns:
            How many are newly condemned.
        """
        with self._writes.begin() as connection:
            _alone(connection)
            return _condemn(connection, set(keys), self._clock())

    def condemned(self, limit: int = 100) -> list[str]:
        """Keys whose bytes are to be deleted now, then `swept`; for the one sweeper."""
        with self._reads.connect() as connection:
            return list(connection.scalars(sa.select(condemned.c.key).order_by(condemned.c.at).limit(limit)))

    def swept(self, keys: Sequence[str]) -> None:
        """Record that the bytes of condemned `keys` were deleted."""
        with self._writes.begin() as connection:
            gone = sa.delete(condemned).where(condemned.c.key.in_(keys)).returning(condemned.c.key)
            now = self._clock()
            rows = [{"key": key, "at": now} for key in connection.scalars(gone)]
            if rows:
                connection.execute(sa.insert(swept), rows)


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
    lost = connection.scalars(_LOST, {"keys": list(keys), "since": since}).all()
    if lost:
        raise ArtifactsSwept(lost)


def _alone(connection: sa.Connection) -> None:
    """Let nobody commit a hold until this transaction ends; SQLite's writers are alone anyway."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("LOCK TABLE holds IN SHARE ROW EXCLUSIVE MODE")


def _condemn(connection: sa.Connection, keys: set[str], now: float) -> int:
    free = keys - set(connection.scalars(sa.select(holds.c.key).where(holds.c.key.in_(keys))))
    if not free:
        return 0
    rows = [{"key": key, "at": now} for key in sorted(free)]
    fresh = free - set(connection.scalars(sa.select(condemned.c.key).where(condemned.c.key.in_(free))))
    connection.execute(upsert(connection, condemned).on_conflict_do_nothing(), rows)
    return len(fresh)
