"""The outbox of webhooks: one row for each job that ended and has a webhook, written with its end.

A delivery is claimed by moving `due_at` ahead: until then nobody else may claim it, and as no two claims move it to the
same time, it is the fence of what a sender records. An attempt counts when its end is recorded. A sender that dies
before that has cost the delivery no attempt, and leaves it to be claimed again, so that each is made at least once and
recorded once; its id, the same in every attempt, lets a receiver drop what it had.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import sqlalchemy as sa

from serve.jobs.database import durable, repeated
from serve.jobs.job import new_id
from serve.jobs.schema import deliveries

DeliveryState = Literal["pending", "delivered", "abandoned"]

MOST_ATTEMPTS = 12
"""How many attempts of a delivery fail before it is set aside as abandoned."""

_PENDING = deliveries.c.state == "pending"

# Team by team, so that a look costs as many steps as there are teams, however many deliveries of theirs are due.
_TEAM = sa.select(sa.func.min(deliveries.c.tenant)).where(_PENDING, deliveries.c.tenant > sa.bindparam("after"))
_LINE = (
    sa.select(deliveries.c.due_at, deliveries.c.id)
    .where(_PENDING, deliveries.c.tenant == sa.bindparam("team"), deliveries.c.due_at <= sa.bindparam("now"))
    .order_by(deliveries.c.due_at, deliveries.c.id)
    .limit(sa.bindparam("most", type_=sa.Integer))
)

_IDLE: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Delivery:
    """A webhook to be called.

    Attributes:
        id: The same in every attempt: what a receiver knows a repeat by.
        attempt: How many attempts have ended.
        due_at: When it may be claimed (again), and the fence of its claim; none once it is over.
        problem: Of the last attempt.
        body: What the first attempt that failed sent, and later ones send; none before that, and once it is over.
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
    body: str | None


class Deliveries:
    """The outbox of a database.

    Args:
        engine: From `open_database`.
        clock: Epoch seconds.
        max_attempts: How many attempts of one fail before it is set aside.
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
        query = sa.select(sa.func.min(deliveries.c.due_at)).where(_PENDING)
        with self._reads.connect() as connection:
            found: float | None = connection.scalar(query)
        return found

    @repeated
    def claim(
        self, lease_s: float, limit: int, under_way: Mapping[str, int] = _IDLE, each: int | None = None
    ) -> list[Delivery]:
        """Take deliveries that are due; those of teams with the fewest first, and of one team those due longest.

        Args:
            lease_s: Seconds for which each is the caller's.
            limit: How many at most. There are fewer, too, where another sender takes some at the same moment.
            under_way: How many of a team the caller has; none of those not named.
            each: How many of one team it may have, those included; no bound of its own when absent.
        """
        due = self.next_due()
        if due is None or due > self._clock():  # most looks find nothing
            return []
        with self._reads.connect() as connection:  # without the write lock: there may be many
            ids = _next(connection, self._clock(), limit, under_way, each)
        if not ids:
            return []
        with self._writes.begin() as connection:
            now = self._clock()
            found = sa.select(deliveries).where(deliveries.c.id.in_(ids)).with_for_update(skip_locked=True)
            still = [row.id for row in connection.execute(found) if row.state == "pending" and row.due_at <= now]
            take = sa.update(deliveries).where(deliveries.c.id.in_(still)).values(due_at=now + lease_s)
            rows = connection.execute(take.returning(*deliveries.c)).all()
        return sorted((Delivery(*row) for row in rows), key=lambda delivery: (delivery.created_at, delivery.id))

    def delivered(self, delivery: Delivery) -> bool:
        """Record that the receiver took it; False where another sender has it now, or it is over."""
        with self._writes.begin() as connection:
            return self._end(connection, delivery, "delivered", None)

    def failed(self, delivery: Delivery, problem: str, due_at: float, body: str | None = None) -> bool:
        """Record that an attempt failed; it is due again at `due_at`, or set aside when it was the last.

        Args:
            delivery: As it was claimed.
            problem: For people.
            due_at: Epoch seconds.
            body: What was sent, to be sent again.

        Returns:
            False where another sender has it now, or it is over.
        """
        attempt = delivery.attempt + 1
        with self._writes.begin() as connection:
            if attempt >= self._max_attempts:
                return self._end(connection, delivery, "abandoned", problem)
            again = sa.update(deliveries).where(_is(delivery))
            values = {"attempt": attempt, "due_at": due_at, "problem": problem, "body": body}
            return connection.execute(again.values(values)).rowcount == 1

    def _end(self, connection: sa.Connection, delivery: Delivery, state: DeliveryState, problem: str | None) -> bool:
        over = sa.update(deliveries).where(_is(delivery))
        ended = {"state": state, "attempt": delivery.attempt + 1, "problem": problem, "finished_at": self._clock()}
        return connection.execute(over.values({**ended, "due_at": None, "body": None})).rowcount == 1


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


def _next(
    connection: sa.Connection, now: float, limit: int, under_way: Mapping[str, int], each: int | None
) -> list[str]:
    """Ids of those that are due, in turn by team: a team's next one comes after as many as it has already."""
    found: list[tuple[int, float, str]] = []
    team: str | None = ""
    while (team := connection.scalar(_TEAM, {"after": team})) is not None:
        has = under_way.get(team, 0)
        most = limit if each is None else min(limit, each - has)
        if most > 0:
            line = connection.execute(_LINE, {"team": team, "now": now, "most": most})
            found += [(has + place, row.due_at, row.id) for place, row in enumerate(line)]
    return [delivery for *_, delivery in sorted(found)[:limit]]


def _is(delivery: Delivery) -> sa.ColumnElement[bool]:
    """The row, while it is this sender's."""
    same = (deliveries.c.id == delivery.id) & (deliveries.c.due_at == delivery.due_at)
    return same & _PENDING
