"""Which Ray clusters claim from one store: two while one follows the other, and then the later one's turn.

A cluster shows itself while it has samplers, under the name of its Ray session, and is forgotten soon after it stops.
Names of sessions begin with the time at which they started, so that they sort by it.
"""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from serve.jobs.clock import until
from serve.jobs.database import repeated, soft, upsert
from serve.jobs.schema import locks

PREFIX = "cluster/"


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
    def show(self, session: str, ttl_s: float) -> None:
        """Say that the cluster of `session` has samplers, and will be believed for `ttl_s` seconds; 0 takes it back."""
        with self._soft.begin() as connection:
            now = self._clock()
            connection.execute(sa.delete(locks).where(_CLUSTERS, locks.c.until <= now))
            values = {"owner": session, "until": until(now, ttl_s)}
            write = upsert(connection, locks).values(name=PREFIX + session, **values)
            connection.execute(write.on_conflict_do_update(index_elements=["name"], set_=values))

    def followed(self, session: str) -> bool:
        """Whether a cluster that started later than that of `session` has samplers."""
        with self._reads.connect() as connection:
            shown = connection.scalars(sa.select(locks.c.owner).where(_CLUSTERS, locks.c.until > self._clock())).all()
        return any(other > session for other in shown)  # not SQL's `>`: a database may sort by its own language


_CLUSTERS = locks.c.name.startswith(PREFIX, autoescape=True)
