"""The team and the key that `cnserve up` makes where nobody has declared any, so that a first request needs no more.

It is an admin's key of the team `demo`: whoever can read it has the operator's own shell already.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serve.tenancy.keys import Keys
    from serve.tenancy.tenants import Tenants

TENANT = "demo"
FILE = "demo.key"
ACTOR = "cnserve up"


def kept_key(folder: Path) -> str | None:
    """The key that is kept in a data folder; none where none is."""
    try:
        return (folder / FILE).read_text().strip() or None
    except OSError:
        return None


def ready_key(tenants: Tenants, keys: Keys, folder: Path) -> str | None:
    """A key that works now: the one that is kept, or a new one where only `demo` exists, or no team at all.

    Args:
        tenants: Of the database.
        keys: Likewise.
        folder: Where the key is kept, for its owner alone.

    Returns:
        None where other teams were declared: then keys are the operator's to make.
    """
    kept = kept_key(folder)
    holder = None if kept is None else keys.holder(kept)
    if holder is not None and not holder.expired:
        return kept
    if tenants.ever() - {TENANT}:
        return None
    if tenants.get(TENANT) is None:
        from serve.tenancy.tenants import Tenant  # with SQLAlchemy, which whoever only reads the key does without

        tenants.apply([Tenant(TENANT)], ACTOR)
    text = keys.create(TENANT, "admin", "made by cnserve up", ACTOR).text
    _keep(folder, text)
    return text


def _keep(folder: Path, text: str) -> None:
    """Put it in its place whole, so that nobody reads half of it."""
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f"{FILE}.{secrets.token_hex(8)}"
    try:
        with open(draft, "x", opener=_for_owner_only) as file:
            file.write(f"{text}\n")
        draft.replace(folder / FILE)
    finally:
        draft.unlink(missing_ok=True)


def _for_owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
