"""Which Ray clusters claim from one store: two while one follows the other, and then the later one's turn.

A cluster joins behind all that joined before it, and keeps its place, whatever becomes of its dispatcher, of its
samplers and of clocks. It shows itself under its place while it has samplers; that is forgotten soon after it stops.

A place is a text that sorts by the time at which it was taken, by the database's clock. It has the form of a Ray
session's name, which has the local time of its head: version 0.1 shows and compares those.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import sqlalchemy as sa

from serve.jobs.clock import until
from serve.jobs.database import repeated, soft, upsert
from serve.jobs.schema import locks

SHOWN, PLACES = "cluster/", "place/"

KEPT = 100
"""Places that are kept, those of the latest clusters."""


class Clusters:
    """Those of a database.

    Args:
        engine: From `open_database`.
        clock: Epoch seconds.
    """

    def __init__(self, engine: sa.Engine, clock: Callable[[], float]) -> None:
        self._reads = engine
        self._soft = soft(engine)
        self._clock = clock

    @repeated
    def join(self, session: str) -> None:
        """Give the cluster of `session` the place behind all others, unless it has one."""
        with self._soft.begin() as connection:
            _place(connection, session, self._clock())

    @repeated
    def show(self, session: str, ttl_s: float) -> None:
        """Say that the cluster of `session` has samplers, and will be believed for `ttl_s` seconds; 0 takes it back."""
        with self._soft.begin() as connection:
            now = self._clock()
            connection.execute(sa.delete(locks).where(_SHOWN, locks.c.until <= now))
            values = {"owner": _place(connection, session, now), "until": until(now, ttl_s)}
            write = upsert(connection, locks).values(name=SHOWN + session, **values)
            connection.execute(write.on_conflict_do_update(index_elements=["name"], set_=values))

    def followed(self, session: str) -> bool:
        """Whether a cluster that joined later than that of `session` has samplers."""
        mine = PLACES + session
        query = sa.select(locks.c.name, locks.c.owner)
        with self._reads.connect() as connection:
            shown = (_SHOWN & (locks.c.until > self._clock())) | (locks.c.name == mine)
            owners = {row.name: row.owner for row in connection.execute(query.where(shown))}
        place = owners.pop(mine, session)
        return any(other > place for other in owners.values())  # not SQL's `>`: a database may sort by its own language


def _place(connection: sa.Connection, session: str, now: float) -> str:
    """The place of a cluster, which takes one if it has none."""
    mine = sa.select(locks.c.owner).where(locks.c.name == PLACES + session)
    place: str | None = connection.scalar(mine)
    if place is not None:
        return place
    rows = connection.execute(sa.select(locks.c.owner, locks.c.name).where(_SHOWN | _PLACES)).all()
    values = {"owner": _behind(max((row.owner for row in rows), default=""), now), "until": now}
    take = upsert(connection, locks).values(name=PLACES + session, **values)
    connection.execute(take.on_conflict_do_nothing())  # a dispatcher that goes may have been as fast
    old = sorted(row for row in rows if row.name.startswith(PLACES))[: -KEPT + 1]
    connection.execute(sa.delete(locks).where(locks.c.name.in_([row.name for row in old])))
    taken: str = connection.execute(mine).scalar_one()
    return taken


def _behind(latest: str, now: float) -> str:
    """A place that sorts behind `latest`; `now` where that is earlier, as it is unless a clock was set back."""
    place = datetime.fromtimestamp(now, UTC).strftime("session_%Y-%m-%d_%H-%M-%S_%f")
    return place if place > latest else latest + "_"


_SHOWN = locks.c.name.startswith(SHOWN, autoescape=True)
_PLACES = locks.c.name.startswith(PLACES, autoescape=True)
