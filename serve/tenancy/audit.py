"""What admins did: one row for each action, written in the transaction that did it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from serve.errors import InvalidRequest
from serve.jobs.schema import audit

_LARGEST_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One action.

    Attributes:
        at: Epoch seconds.
        actor: `key:<id>`, `token:<subject>`, `shell:<user>`, `cnserve up`.
        tenant: The team it was done to.
        action: `tenant.added`, `key.revoked` ...
        data: What about it; never a secret.
    """

    id: int
    at: float
    actor: str
    tenant: str
    action: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Entries, the newest first, and where the next page begins; none at the end."""

    entries: tuple[Entry, ...]
    after: str | None


class Audit:
    """The audit log of a database. Nothing here changes or deletes an entry.

    Args:
        engine: From `open_database`.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._reads = engine

    def page(self, tenant: str, after: str | None, limit: int) -> AuditPage:
        """Up to `limit` entries about `tenant`, the newest first, from where the cursor `after` says.

        Raises:
            InvalidRequest: The cursor is none.
        """
        query = sa.select(audit).where(audit.c.tenant == tenant)
        if after is not None:
            query = query.where(audit.c.id < _end(after))
        with self._reads.connect() as connection:
            found = [Entry(*row) for row in connection.execute(query.order_by(audit.c.id.desc()).limit(limit + 1))]
        return AuditPage(tuple(found[:limit]), str(found[limit - 1].id) if len(found) > limit else None)


def record(connection: sa.Connection, at: float, actor: str, tenant: str, action: str, data: Mapping[str, Any]) -> None:
    """Write an entry in the transaction of what it tells."""
    connection.execute(sa.insert(audit).values(at=at, actor=actor, tenant=tenant, action=action, data=dict(data)))


def _end(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= 19 and int(cursor) <= _LARGEST_ID):
        raise InvalidRequest("is not a cursor of a page", field="cursor")
    return int(cursor)
