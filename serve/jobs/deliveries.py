"""The outbox of webhooks: one row for each job that ended and has a webhook, written with its end.

A delivery is claimed as a job is: its attempt grows with every claim and is the fence, and until `due_at` nobody else
may claim it. A sender that dies in between leaves it to be claimed again, so that each is made at least once and
recorded once; its id, the same in every attempt, lets a receiver drop what it had.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from serve.jobs.database import durable
from serve.jobs.job import new_id
from serve.jobs.schema import deliveries

DeliveryState = Literal["pending", "delivered", "abandoned"]

MOST_ATTEMPTS = 12
"""How often a delivery is tried before it is set aside as abandoned."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A webhook to be called.

    Attributes:
        id: The same in every attempt: what a receiver knows a repeat by.
        attempt: How often it was claimed, this time included; also the fence.
        due_at: When it may be claimed again; none once it is over.
        problem: Of the last attempt.
    """

    id: str
    job_id: str
    tenant: str
    url: str
    state: DeliveryState
    attempt: int
    due_at: float | None
    problem: str | None
    created_at: float
    finished_at: float | None


class Deliveries:
    """The outbox of a database.

    Args:
        engine: From `open_database`.
        clock: Epoch seconds.
        max_attempts: How often one is tried.
    """

    def __init__(self, engine: sa.Engine, clock: Callable[[], float], max_attempts: int = MOST_ATTEMPTS) -> None:
        self._reads = engine
        self._writes = durable(engine)
        self._clock = clock
        self._max_attempts = max_attempts

    def of(self, job_id: str) -> Delivery | None:
        """The delivery of a job; none while it has not ended, or where it has no webhook."""
        with self._reads.connect() as connection:
            row = connection.execute(sa.select(deliveries).where(deliveries.c.job_id == job_id)).one_or_none()
        return None if row is None else Delivery(*row)

    def next_due(self) -> float | None:
        """When the next delivery may be claimed; none where none waits."""
        query = sa.select(sa.func.min(deliveries.c.due_at)).where(deliveries.c.state == "pending")
        with self._reads.connect() as connection:
            found: float | None = connection.scalar(query)
        return found

    def claim(self, lease_s: float, limit: int) -> list[Delivery]:
        """Take up to `limit` deliveries that are due; each is the caller's for `lease_s` seconds."""
        due = self.next_due()
        if due is None or due > self._clock():  # without the write lock: most looks find nothing
            return []
        with self._writes.begin() as connection:
            now = self._clock()
            pick = (
                sa.select(deliveries.c.id, deliveries.c.attempt)
                .where(deliveries.c.state == "pending", deliveries.c.due_at <= now)
                .order_by(deliveries.c.due_at)
                .limit(limit)
                .with_for_update(skip_locked=True)
            )
            found = connection.execute(pick).all()
            for row in found:
                if row.attempt >= self._max_attempts:
                    spent = deliveries.c.id == row.id
                    self._end(connection, spent, "abandoned", "The sender went silent during the last attempt.")
            take = sa.update(deliveries).where(deliveries.c.id.in_([row.id for row in found]))
            taken = take.where(deliveries.c.state == "pending").values(
                attempt=deliveries.c.attempt + 1, due_at=now + lease_s
            )
            rows = connection.execute(taken.returning(*deliveries.c)).all()
        return sorted((Delivery(*row) for row in rows), key=lambda delivery: (delivery.created_at, delivery.id))

    def delivered(self, delivery: Delivery) -> bool:
        """Record that the receiver took it; False where another sender has it now, or it is over."""
        with self._writes.begin() as connection:
            return self._end(connection, _is(delivery), "delivered", None)

    def failed(self, delivery: Delivery, problem: str, due_at: float) -> bool:
        """Record that an attempt failed; it is due again at `due_at`, or set aside when it was the last.

        Returns:
            False where another sender has it now, or it is over.
        """
        with self._writes.begin() as connection:
            if delivery.attempt >= self._max_attempts:
                return self._end(connection, _is(delivery), "abandoned", problem)
            again = sa.update(deliveries).where(_is(delivery)).values(due_at=due_at, problem=problem)
            return connection.execute(again).rowcount == 1

    def _end(
        self, connection: sa.Connection, where: sa.ColumnElement[bool], state: DeliveryState, problem: str | None
    ) -> bool:
        end = sa.update(deliveries).where(where)
        over = end.values(state=state, problem=problem, due_at=None, finished_at=self._clock())
        return connection.execute(over).rowcount == 1


def announce(connection: sa.Connection, job: sa.Row[Any], now: float) -> None:
    """Put the end of a job with a webhook into the outbox; a job can end once."""
    connection.execute(
        sa.insert(deliveries).values(
            id=new_id("dlv", now),
            job_id=job.id,
            tenant=job.tenant,
            url=job.webhook,
            state="pending",
            attempt=0,
            due_at=now,
            created_at=now,
        )
    )


def _is(delivery: Delivery) -> sa.ColumnElement[bool]:
    """The row, while it is this sender's."""
    same = (deliveries.c.id == delivery.id) & (deliveries.c.attempt == delivery.attempt)
    return same & (deliveries.c.state == "pending")
