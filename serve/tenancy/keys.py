"""Keys: `cn_<id>_<secret>`, shown once when made; the database has only a hash of the secret.

The secret is 32 random bytes, so a plain SHA-256 is as good as any: slow hashes protect what can be guessed, and would
cost each request what they cost a thief. Both parts are base32 in lower case, which has no `_`: a key reads one way,
is selected by a double click, and is found by scanners of repositories (`cn_[a-z2-7]{10}_[a-z2-7]{52}`).

A key is looked up by every request, so that one which was revoked opens nothing from the next request on.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import sqlalchemy as sa

from serve.errors import Conflict, NotFound
from serve.jobs.database import durable
from serve.jobs.schema import keys, tenants
from serve.tenancy.audit import record
from serve.tenancy.principal import Principal, Role
from serve.tenancy.tenants import Limits

PREFIX = "cn_"
KEY = re.compile(rf"{PREFIX}(?P<id>[a-z2-7]{{10}})_(?P<secret>[a-z2-7]{{52}})")
ID = re.compile(r"[a-z2-7]{10}")
SECRET_BYTES = 32
MOST_KEYS = 100
"""That one team may have at once."""

LASTING_S = 14 * 24 * 3600.0
"""A key that was made for at least so many seconds is one that somebody must replace in time."""

_NOBODY = hashlib.sha256(b"").hexdigest()  # of no secret: compared with where there is no key, for the same time


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a key. Times are epoch seconds."""

    id: str
    tenant: str
    role: Role
    name: str
    created_at: float
    expires_at: float | None
    revoked_at: float | None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key, and its text, which nobody can tell again."""

    key: Key
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Holder:
    """Whom a key with the right secret belongs to.

    Attributes:
        expired: The key's time is over.
    """

    principal: Principal
    expired: bool


class Keys:
    """The keys of a database.

    Args:
        engine: From `open_database`.
        clock: Epoch seconds.
        random_bytes: So many, unguessable.
    """

    def __init__(
        self,
        engine: sa.Engine,
        clock: Callable[[], float],
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._reads = engine
        self._writes = durable(engine)
        self._clock = clock
        self._random_bytes = random_bytes

    def holder(self, text: str) -> Holder | None:
        """Whom a key belongs to; none where it is unknown or revoked, or its team is gone."""
        match = KEY.fullmatch(text)
        if match is None:
            return None
        query = (
            sa.select(keys, tenants.c.limits)
            .join_from(keys, tenants, keys.c.tenant == tenants.c.name)
            .where(keys.c.id == match["id"], keys.c.revoked_at.is_(None), tenants.c.removed_at.is_(None))
        )
        with self._reads.connect() as connection:
            row = connection.execute(query).one_or_none()
        right = hmac.compare_digest(_hash(match["secret"]), _NOBODY if row is None else row.hash)
        if row is None or not right:
            return None
        principal = Principal(row.tenant, row.role, f"key:{row.id}", Limits.from_json(row.limits))
        return Holder(principal, _over(row, self._clock()))

    def list(self, tenant: str) -> Sequence[Key]:
        """The keys of a team that open something, the oldest first. Those of the past are in the audit log."""
        with self._reads.connect() as connection:
            return _usable(connection, tenant, self._clock())

    def create(self, tenant: str, role: Role, name: str, actor: str, expires_in_s: float | None = None) -> NewKey:
        """Make a key.

        Args:
            tenant: Whose.
            role: What it may do.
            name: For people.
            actor: For the audit log.
            expires_in_s: Seconds from now; without it the key is good until it is revoked.

        Raises:
            NotFound: There is no such team.
            Conflict: It has as many keys as it may have.
        """
        now = self._clock()
        with self._writes.begin() as connection:
            _lock_tenant(connection, tenant)
            if len(_usable(connection, tenant, now)) >= MOST_KEYS:
                raise Conflict(f"The team has {MOST_KEYS} keys, the most at once. Revoke one.")
            expires_at = None if expires_in_s is None else now + expires_in_s
            new = self._insert(connection, tenant, role, name, now, expires_at)
            record(connection, now, actor, tenant, "key.created", _told(new.key))
        return new

    def rotate(self, tenant: str, key_id: str, actor: str, grace_s: float = 0.0) -> NewKey:
        """Put a new key in the place of one; it has the same role and name, and lives as long from now.

        Args:
            tenant: Whose; another's key is not found.
            key_id: Of the old one.
            actor: For the audit log.
            grace_s: Seconds that the old one stays good, if it would have; 0 revokes it at once.

        Raises:
            NotFound: There is no such key or team, or it opens nothing any more.
        """
        now = self._clock()
        with self._writes.begin() as connection:
            _lock_tenant(connection, tenant)
            old = _find(connection, tenant, key_id)
            if old is None or old.revoked_at is not None or _over(old, now):
                raise NotFound("There is no such key.")
            lifetime_s = None if old.expires_at is None else old.expires_at - old.created_at
            new = self._insert(
                connection, tenant, old.role, old.name, now, None if lifetime_s is None else now + lifetime_s
            )
            if grace_s > 0:
                ends_at = now + grace_s if old.expires_at is None else min(old.expires_at, now + grace_s)
                change: dict[str, float] = {"expires_at": ends_at}
            else:
                change = {"revoked_at": now}
            connection.execute(sa.update(keys).where(keys.c.id == old.id).values(change))
            record(connection, now, actor, tenant, "key.rotated", _told(new.key) | {"replaces": old.id, **change})
        return new

    def revoke(self, tenant: str, key_id: str, actor: str) -> Key:
        """Take a key back, at once; one that was taken back already stays as it is.

        Raises:
            NotFound: There is no such key of this team.
        """
        now = self._clock()
        with self._writes.begin() as connection:
            found = _find(connection, tenant, key_id)
            if found is None:
                raise NotFound("There is no such key.")
            if found.revoked_at is not None:
                return found
            connection.execute(sa.update(keys).where(keys.c.id == key_id).values(revoked_at=now))
            record(connection, now, actor, tenant, "key.revoked", {"id": key_id, "name": found.name})
        return Key(found.id, tenant, found.role, found.name, found.created_at, found.expires_at, now)

    def tenant_of(self, key_id: str) -> str | None:
        """Whose a key is, for the operator, who names keys alone."""
        with self._reads.connect() as connection:
            return connection.scalar(sa.select(keys.c.tenant).where(keys.c.id == key_id))

    def next_expiry(self) -> float | None:
        """When the next key that was made to last expires; none where none does.

        A key that was made for a few days ends as it was meant to, and nobody needs to be told.
        """
        lasting = keys.c.expires_at - keys.c.created_at >= LASTING_S
        query = sa.select(sa.func.min(keys.c.expires_at)).where(
            keys.c.revoked_at.is_(None), keys.c.expires_at > self._clock(), lasting
        )
        with self._reads.connect() as connection:
            return cast("float | None", connection.scalar(query))

    def _insert(
        self, connection: sa.Connection, tenant: str, role: Role, name: str, now: float, expires_at: float | None
    ) -> NewKey:
        key_id, secret = _text(self._random_bytes(10))[:10], _text(self._random_bytes(SECRET_BYTES))
        key = Key(key_id, tenant, role, name, now, expires_at, None)
        connection.execute(
            sa.insert(keys).values(
                id=key.id,
                tenant=tenant,
                role=role,
                name=name,
                hash=_hash(secret),
                created_at=now,
                expires_at=expires_at,
            )
        )
        return NewKey(key, f"{PREFIX}{key_id}_{secret}")


def _lock_tenant(connection: sa.Connection, tenant: str) -> None:
    """Hold a team as it is until the transaction ends.

    Raises:
        NotFound: There is none.
    """
    standing = sa.select(tenants.c.name).where(tenants.c.name == tenant, tenants.c.removed_at.is_(None))
    if connection.scalar(standing.with_for_update()) is None:
        raise NotFound(f"There is no team {tenant}.")


_COLUMNS = [column for column in keys.c if column.name != "hash"]


def _usable(connection: sa.Connection, tenant: str, now: float) -> list[Key]:
    query = (
        sa.select(*_COLUMNS)
        .where(keys.c.tenant == tenant, keys.c.revoked_at.is_(None))
        .where(keys.c.expires_at.is_(None) | (keys.c.expires_at > now))
        .order_by(keys.c.created_at, keys.c.id)
    )
    return [Key(*row) for row in connection.execute(query)]


def _find(connection: sa.Connection, tenant: str, key_id: str) -> Key | None:
    if not ID.fullmatch(key_id):
        return None
    query = sa.select(*_COLUMNS).where(keys.c.id == key_id, keys.c.tenant == tenant).with_for_update()
    row = connection.execute(query).one_or_none()
    return None if row is None else Key(*row)


def _over(found: Key | sa.Row[Any], now: float) -> bool:
    expires_at = cast("float | None", found.expires_at)
    return expires_at is not None and expires_at <= now


def _told(key: Key) -> dict[str, Any]:
    return {"id": key.id, "role": key.role, "name": key.name, "expires_at": key.expires_at}


def _text(data: bytes) -> str:
    return base64.b32encode(data).decode().rstrip("=").lower()


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
