"""What a team may take in a while: requests a minute, jobs that wait, images and work a day.

All is counted in the database, so that a limit holds across the apis. A request is counted before its body is read
(`Rates`). What a job takes is counted in the transaction that queues it (`reserve`): where that is too much, the whole
is undone and there is no row. What failed, and what was cancelled before it started, is given back (`give_back`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from serve.errors import InvalidRequest, QuotaExceeded
from serve.jobs.cost import Cost
from serve.jobs.database import soft, upsert
from serve.jobs.schema import jobs, rates, spent

MINUTE_S, DAY_S = 60.0, 24 * 3600.0
QUEUE_MOVES_S = 5.0
"""After which asking again makes sense where too many jobs wait."""

_TURNS = 0x71756F74  # a class of PostgreSQL's advisory locks; any number will do
_TURN = sa.select(sa.func.pg_advisory_xact_lock(sa.bindparam("class"), sa.func.hashtext(sa.bindparam("tenant"))))
_SLACK = 1e-6  # seconds: sums of intervals are not exact


@dataclass(frozen=True, slots=True)
class Quota:
    """What a team's jobs may take at most; none is no limit.

    Attributes:
        queued_jobs: Waiting at once.
        images_per_day: Accepted in a day of UTC, less what was given back.
        gflop_per_day: Likewise.
    """

    queued_jobs: int | None = None
    images_per_day: int | None = None
    gflop_per_day: float | None = None


UNLIMITED = Quota()


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left of a limit.

    Attributes:
        limit: In all, in `window_s` seconds.
        left: Now.
        reset_s: Until all of it is there again, if nothing more is taken.
    """

    name: str
    limit: int
    window_s: float
    left: int
    reset_s: float


class Rates:
    """Requests a minute, by the generic cell rate algorithm (ITU-T I.371): exact, and one number for each team.

    A team may send a whole minute's requests at once, and from then on as many as come back.

    Args:
        engine: From `open_database`.
        clock: Epoch seconds.
    """

    def __init__(self, engine: sa.Engine, clock: Callable[[], float]) -> None:
        self._reads = engine
        self._writes = soft(engine)
        self._clock = clock

    def take(self, tenant: str, per_minute: int) -> Allowance:
        """Count a request.

        Raises:
            QuotaExceeded: It is one too many, and is not counted.
        """
        interval = MINUTE_S / per_minute
        with self._writes.begin() as connection:
            now = self._clock()
            due = sa.case((rates.c.due > now, rates.c.due), else_=now) + interval
            count = (
                upsert(connection, rates)
                .values(tenant=tenant, due=now + interval)
                .on_conflict_do_update(
                    index_elements=["tenant"], set_={"due": due}, where=due <= now + MINUTE_S + _SLACK
                )
                .returning(rates.c.due)
            )
            after = connection.scalar(count)
        if after is None:
            with self._reads.connect() as connection:
                before = connection.scalar(sa.select(rates.c.due).where(rates.c.tenant == tenant)) or now
            raise QuotaExceeded(
                f"Your team may send {per_minute} requests a minute.",
                retry_after_s=max(0.0, before + interval - now - MINUTE_S),
            )
        left = int((MINUTE_S - (after - now) + _SLACK) / interval)
        return Allowance("requests", per_minute, MINUTE_S, left, after - now)


class Spent:
    """What teams took today, of a database.

    Args:
        engine: From `open_database`.
        clock: Epoch seconds.
    """

    def __init__(self, engine: sa.Engine, clock: Callable[[], float]) -> None:
        self._reads = engine
        self._clock = clock

    def left(self, tenant: str, quota: Quota) -> list[Allowance]:
        """What is left of a team's day."""
        limits = {"images": quota.images_per_day, "gflop": quota.gflop_per_day}
        if all(limit is None for limit in limits.values()):
            return []
        now = self._clock()
        query = sa.select(spent).where(spent.c.tenant == tenant, spent.c.day == day(now))
        with self._reads.connect() as connection:
            row = connection.execute(query).mappings().one_or_none()
        return [
            Allowance(name, int(limit), DAY_S, max(0, int(limit - (row[name] if row else 0))), to_midnight(now))
            for name, limit in limits.items()
            if limit is not None
        ]


def reserve(connection: sa.Connection, tenant: str, quota: Quota, images: int, cost: Cost, now: float) -> None:
    """Count a job that is queued in this transaction.

    On PostgreSQL a team's submissions take turns at its day's row from here on, so that no two of them count alike; and
    where waiting jobs are counted at the team itself, for those wait over midnight.

    Raises:
        InvalidRequest: The job is more than a whole day's.
        QuotaExceeded: It is too much just now; undo the transaction.
    """
    add = upsert(connection, spent).values(tenant=tenant, day=day(now), images=images, gflop=cost.gflop)
    today = connection.execute(
        add.on_conflict_do_update(
            index_elements=["tenant", "day"],
            set_={"images": spent.c.images + add.excluded.images, "gflop": spent.c.gflop + add.excluded.gflop},
        ).returning(spent.c.images, spent.c.gflop)
    ).one()
    wanted = (
        ("n", "images", quota.images_per_day, images, today.images),
        ("steps", "GFLOP", quota.gflop_per_day, cost.gflop, today.gflop),
    )
    for field, unit, limit, mine, total in wanted:
        if limit is not None and mine > limit:
            raise InvalidRequest(f"{_said(mine)} {unit}: your team may use {_said(limit)} a day.", field=field)
        if limit is not None and total > limit:
            raise QuotaExceeded(
                f"Your team may use {_said(limit)} {unit} a day (UTC), {_said(total - mine)} are used or under way.",
                retry_after_s=to_midnight(now),
            )
    if quota.queued_jobs is not None:
        _take_turns(connection, tenant)
        waiting = sa.select(sa.func.count()).where(jobs.c.state == "queued", jobs.c.tenant == tenant)
        if (connection.scalar(waiting) or 0) >= quota.queued_jobs:
            raise QuotaExceeded(
                f"{quota.queued_jobs} jobs of your team wait, as many as may.", retry_after_s=QUEUE_MOVES_S
            )


def _take_turns(connection: sa.Connection, tenant: str) -> None:
    """Wait for the team's other submissions; SQLite's writers come one at a time anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(_TURN, {"class": _TURNS, "tenant": tenant})


def give_back(connection: sa.Connection, ended: Iterable[sa.Row[Any]]) -> None:
    """Take back from their days what jobs were counted for: days in one order, so that nobody waits in a circle."""
    images: Counter[tuple[str, str]] = Counter()
    gflop: dict[tuple[str, str], float] = {}
    for job in ended:
        one = job.tenant, day(job.created_at)
        images[one] += len(job.spec["seeds"])
        gflop[one] = gflop.get(one, 0.0) + job.gflop
    for tenant, when in sorted(images):
        connection.execute(
            sa.update(spent)
            .where(spent.c.tenant == tenant, spent.c.day == when)
            .values(images=spent.c.images - images[tenant, when], gflop=spent.c.gflop - gflop[tenant, when])
        )


def day(now: float) -> str:
    """In UTC, `2026-08-01`."""
    return time.strftime("%Y-%m-%d", time.gmtime(now))


def to_midnight(now: float) -> float:
    """Seconds until the next day of UTC."""
    return DAY_S - now % DAY_S


def _said(number: float) -> str:
    """`1,250`, `9.5`, `0.001`."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
