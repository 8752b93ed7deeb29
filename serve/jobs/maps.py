"""Control maps that were made for their own sake: annotate once, steer many jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from serve.jobs.database import durable
from serve.jobs.job import new_id
from serve.jobs.retention import hold
from serve.jobs.schema import control_maps


@dataclass(frozen=True, slots=True)
class ControlMap:
    """A control map that jobs may name by its id until it expires.

    Attributes:
        type: The control it is for.
        annotator: What made it, with `parameters`.
        width: Pixels.
        height: Pixels.
        key: Of its artifact.
    """

    id: str
    tenant: str
    type: str
    annotator: str
    parameters: Mapping[str, float]
    width: int
    height: int
    key: str
    created_at: float
    expires_at: float


class Maps:
    """The control maps of a database.

    Args:
        engine: From `open_database`.
        clock: Epoch seconds.
        retention_s: How long one is kept.
    """

    def __init__(self, engine: sa.Engine, clock: Callable[[], float], retention_s: float) -> None:
        self._reads = engine
        self._writes = durable(engine)
        self._clock = clock
        self._retention_s = retention_s

    def put(
        self,
        tenant: str,
        type: str,
        annotator: str,
        parameters: Mapping[str, float],
        width: int,
        height: int,
        key: str,
        *,
        mark: int = 0,
    ) -> ControlMap:
        """Keep the map whose artifact is `key`.

        Args:
            tenant: Whose it is.
            type: The control it is for.
            annotator: What made it.
            parameters: With which.
            width: Pixels.
            height: Pixels.
            key: Of the artifact.
            mark: `Retention.mark` of before the artifact was put.

        Raises:
            ArtifactsSwept: Put the artifact again.
        """
        now = self._clock()
        expires_at = now + self._retention_s
        made = ControlMap(
            new_id("map", now), tenant, type, annotator, dict(parameters), width, height, key, now, expires_at
        )
        with self._writes.begin() as connection:
            hold(connection, made.id, {key}, mark)
            connection.execute(sa.insert(control_maps).values(asdict(made)))
        return made

    def get(self, map_id: str, tenant: str) -> ControlMap | None:
        """The map; none where there is none (any more) or it is another tenant's."""
        mine = (control_maps.c.id == map_id) & (control_maps.c.tenant == tenant)
        with self._reads.connect() as connection:
            row = connection.execute(
                sa.select(control_maps).where(mine, control_maps.c.expires_at > self._clock())
            ).one_or_none()
        return None if row is None else ControlMap(*row)
