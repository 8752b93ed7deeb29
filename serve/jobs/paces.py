"""What samplers were measured to take, kept for whoever predicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import sqlalchemy as sa

from serve.jobs.database import repeated, soft, upsert
from serve.jobs.pace import Pace
from serve.jobs.queue import FRESH_S, read_paces
from serve.jobs.schema import paces


class Paces:
    """The paces in a database.

    Args:
        engine: From `open_database`.
        clock: Epoch seconds.
    """

    def __init__(self, engine: sa.Engine, clock: Callable[[], float]) -> None:
        self._reads = engine
        self._soft = soft(engine)
        self._clock = clock

    @repeated
    def keep(self, measured: Mapping[str, Pace]) -> None:
        """Write down what samplers, by name, take now, and forget those that were not heard of for long."""
        now = self._clock()
        rows = [
            {
                "worker": worker,
                "fixed": pace.fixed,
                "per_gflop": pace.per_gflop,
                "gflop": pace.gflop,
                "rows": pace.rows,
                "at": now,
            }
            for worker, pace in sorted(measured.items())
        ]
        with self._soft.begin() as connection:
            connection.execute(sa.delete(paces).where(paces.c.at <= now - FRESH_S))
            if rows:
                write = upsert(connection, paces)
                values = {name: write.excluded[name] for name in rows[0] if name != "worker"}
                connection.execute(write.on_conflict_do_update(index_elements=["worker"], set_=values), rows)

    def last(self) -> Pace | None:
        """What was measured last, however long ago; none before the first sampler's first step."""
        query = sa.select(paces).order_by(paces.c.at.desc(), paces.c.worker).limit(1)
        with self._reads.connect() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else Pace(row.fixed, row.per_gflop, row.gflop, row.rows)

    def current(self) -> list[Pace]:
        """Of the samplers that were heard of lately."""
        with self._reads.connect() as connection:
            return read_paces(connection, self._clock())
