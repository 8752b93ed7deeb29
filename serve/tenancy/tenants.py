"""Teams: what each may use, as it was declared.

A file declares them (`declared`), `Tenants.apply` makes the database say the same. A team that is removed stays as a
row, because its jobs and usage do; its keys are revoked with it: a team that is declared again starts with none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import sqlalchemy as sa

from serve.jobs.database import durable, upsert
from serve.jobs.schema import keys, tenants
from serve.tenancy.audit import record

NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
"""A DNS label."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a team may use at most, within the operator's settings; what is none is not limited.

    Attributes:
        requests_per_minute: Requests for work: images, jobs, maps. Looking at them is free.
        queued_jobs: Jobs that wait at once.
        images_per_day: In a day of UTC.
        gflop_per_day: Work likewise, in 10^9 floating point operations.
        max_pixels: Of one image.
        max_steps: Of one job.
        max_images: Of one job.
        retention_days: How long results are kept.
        models: Names of the models it may use.
    """

    requests_per_minute: int | None = None
    queued_jobs: int | None = None
    images_per_day: int | None = None
    gflop_per_day: float | None = None
    max_pixels: int | None = None
    max_steps: int | None = None
    max_images: int | None = None
    retention_days: float | None = None
    models: tuple[str, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """Those that are set."""
        return {name: _plain(value) for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Limits:
        """The inverse."""
        models = found.get("models")
        return cls(**{**found, "models": None if models is None else tuple(models)})


@dataclass(frozen=True, slots=True)
class Tenant:
    """A team.

    Attributes:
        name: A DNS label: artifacts' keys and namespaces carry it.
        weight: Of its share, against the others'.
    """

    name: str
    weight: float = 1.0
    limits: Limits = Limits()

    def to_json(self) -> dict[str, Any]:
        """What the audit log says of it."""
        return {"weight": self.weight, "limits": self.limits.to_json()}


@dataclass(frozen=True, slots=True)
class Change:
    """What applying a declaration does, or would do, to one team.

    Attributes:
        before: Of a team that was there.
        after: Of a team that stays, or comes.
    """

    name: str
    before: Tenant | None
    after: Tenant | None

    @property
    def kind(self) -> Literal["added", "changed", "removed"]:
        """In a word."""
        if self.before is None:
            return "added"
        return "changed" if self.after is not None else "removed"


class Tenants:
    """The teams of a database.

    Args:
        engine: From `open_database`.
        clock: Epoch seconds.
    """

    def __init__(self, engine: sa.Engine, clock: Callable[[], float]) -> None:
        self._reads = engine
        self._writes = durable(engine)
        self._clock = clock

    def get(self, name: str) -> Tenant | None:
        """The team of this name; none where it was never declared, or is removed."""
        if not NAME.fullmatch(name):  # what a token claims may be anything
            return None
        with self._reads.connect() as connection:
            row = connection.execute(_STANDING.where(tenants.c.name == name)).one_or_none()
        return None if row is None else _read(row)

    def list(self) -> Sequence[Tenant]:
        """All that were not removed, by name."""
        with self._reads.connect() as connection:
            return [_read(row) for row in connection.execute(_STANDING.order_by(tenants.c.name))]

    def ever(self) -> frozenset[str]:
        """The names of all there ever were."""
        with self._reads.connect() as connection:
            return frozenset(connection.scalars(sa.select(tenants.c.name)))

    def compare(self, declared: Sequence[Tenant], *, prune: bool = False) -> Sequence[Change]:
        """What `apply` would do now."""
        with self._reads.connect() as connection:
            return _changes(connection, declared, prune)

    def apply(self, declared: Sequence[Tenant], actor: str, *, prune: bool = False) -> Sequence[Change]:
        """Make the database say what is declared, all of it or nothing.

        Args:
            declared: Each name once.
            actor: For the audit log.
            prune: Remove the teams that are not declared, and revoke their keys.

        Returns:
            What changed; nothing where all was so already.
        """
        now = self._clock()
        with self._writes.begin() as connection:
            changes = _changes(connection, declared, prune, lock=True)
            for change in changes:
                revoked = _write(connection, change, now)
                data = {
                    "before": None if change.before is None else change.before.to_json(),
                    "after": None if change.after is None else change.after.to_json(),
                    "keys_revoked": revoked,
                }
                record(connection, now, actor, change.name, f"tenant.{change.kind}", data)
        return changes


_STANDING = sa.select(tenants.c.name, tenants.c.weight, tenants.c.limits).where(tenants.c.removed_at.is_(None))


def _read(row: sa.Row[*tuple[Any, ...]]) -> Tenant:
    return Tenant(row.name, row.weight, Limits.from_json(row.limits))


def _changes(
    connection: sa.Connection, declared: Sequence[Tenant], prune: bool, *, lock: bool = False
) -> Sequence[Change]:
    query = _STANDING.with_for_update() if lock else _STANDING
    before = {row.name: _read(row) for row in connection.execute(query)}
    changes = [
        Change(tenant.name, before.get(tenant.name), tenant) for tenant in declared if before.get(tenant.name) != tenant
    ]
    if prune:
        names = {tenant.name for tenant in declared}
        changes += [Change(name, tenant, None) for name, tenant in sorted(before.items()) if name not in names]
    return changes


def _write(connection: sa.Connection, change: Change, now: float) -> int:
    """Do it; returns how many keys were revoked with it."""
    if change.after is None:
        connection.execute(sa.update(tenants).where(tenants.c.name == change.name).values(removed_at=now))
        open_keys = (keys.c.tenant == change.name) & keys.c.revoked_at.is_(None)
        return connection.execute(sa.update(keys).where(open_keys).values(revoked_at=now)).rowcount
    values = {"weight": change.after.weight, "limits": change.after.limits.to_json(), "removed_at": None}
    insert = upsert(connection, tenants).values(name=change.name, created_at=now, **values)
    connection.execute(insert.on_conflict_do_update(index_elements=["name"], set_=values))
    return 0


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
