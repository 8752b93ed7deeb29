"""Idempotency keys: the same request sent twice is one job.

A key is reserved before the request's bytes are stored, so that of two that come at once one goes on and the other is
told to wait, and it is bound to its job in the transaction that submits it. A reservation whose api died is free again
after a minute; a key that has its job keeps it for a day.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from serve.errors import IdempotencyInFlight, IdempotencyMismatch
from serve.jobs.database import StoreUnavailable, repeated, soft, upsert
from serve.jobs.schema import idempotency

RESERVED_S = 60.0
"""How long the bytes of a request may take to be stored."""

KEPT_S = 24 * 3600.0
"""How long a key names its job, from the submission."""

_HEADER = "Idempotency-Key"


@dataclass(frozen=True, slots=True)
class Reservation:
    """A key that is this request's alone: give it to `JobStore.submit`, or back with `Idempotency.release`."""

    tenant: str
    key: str
    token: str


class Idempotency:
    """The keys of a database.

    Args:
        engine: From `open_database`.
        clock: Epoch seconds.
    """

    def __init__(self, engine: sa.Engine, clock: Callable[[], float]) -> None:
        self._soft = soft(engine)
        self._clock = clock

    def reserve(self, tenant: str, key: str, fingerprint: str) -> Reservation | str:
        """Take a key for a request; the id of the job where the same request was submitted before.

        Args:
            tenant: Each has keys of its own.
            key: As the client sent it.
            fingerprint: Equal for equal requests, bytes of pictures included.

        Raises:
            IdempotencyInFlight: The same request is being submitted now.
            IdempotencyMismatch: The key stands for another request.
        """
        token = secrets.token_hex(16)
        try:
            return self._reserve(tenant, key, fingerprint, token)
        except StoreUnavailable:  # it may have been done all the same, and is known by its token
            return self._reserve(tenant, key, fingerprint, token)

    @repeated
    def _reserve(self, tenant: str, key: str, fingerprint: str, token: str) -> Reservation | str:
        with self._soft.begin() as connection:
            now = self._clock()
            values = {"fingerprint": fingerprint, "token": token, "job_id": None, "expires_at": now + RESERVED_S}
            take = (
                upsert(connection, idempotency)
                .values(tenant=tenant, key=key, **values)
                .on_conflict_do_update(
                    index_elements=["tenant", "key"],
                    set_=values,
                    where=(idempotency.c.expires_at <= now) | (idempotency.c.token == token),
                )
                .returning(idempotency.c.token)
            )
            if connection.scalar(take) is not None:
                return Reservation(tenant, key, token)
            mine = (idempotency.c.tenant == tenant) & (idempotency.c.key == key)
            row = connection.execute(sa.select(idempotency).where(mine)).one()
        if row.fingerprint != fingerprint:
            raise IdempotencyMismatch("The key was used for another request.", field=_HEADER)
        if row.job_id is None:
            raise IdempotencyInFlight("A request with this Idempotency-Key is being accepted now.", retry_after_s=1)
        found: str = row.job_id
        return found

    @repeated
    def release(self, reservation: Reservation) -> None:
        """Free a key whose request was not submitted after all."""
        with self._soft.begin() as connection:
            connection.execute(sa.delete(idempotency).where(_is(reservation)))


def bind(connection: sa.Connection, reservation: Reservation, job_id: str, now: float) -> None:
    """Let the key name the job that this transaction submits.

    Raises:
        IdempotencyInFlight: The reservation ran out and another request has the key.
    """
    keep = sa.update(idempotency).where(_is(reservation)).values(job_id=job_id, expires_at=now + KEPT_S)
    if connection.execute(keep).rowcount == 0:
        raise IdempotencyInFlight("Another request took over this Idempotency-Key.", retry_after_s=1)


def old(now: float, limit: int) -> sa.Delete:
    """Drops up to `limit` keys whose time is over."""
    over = idempotency.c.expires_at <= now
    name = idempotency.c.tenant, idempotency.c.key
    first = sa.select(*name).where(over).order_by(idempotency.c.expires_at).limit(limit)
    return sa.delete(idempotency).where(sa.tuple_(*name).in_(first), over)  # twice: one may be reserved again meanwhile


def _is(reservation: Reservation) -> sa.ColumnElement[bool]:
    """The row, while it is this reservation's and has no job."""
    same = (idempotency.c.tenant == reservation.tenant) & (idempotency.c.key == reservation.key)
    return same & (idempotency.c.token == reservation.token) & idempotency.c.job_id.is_(None)
