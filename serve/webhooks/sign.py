"""Signatures of the Standard Webhooks specification (standardwebhooks.com), and the secrets they are made with.

Every tenant has a secret of its own, so that nobody who checks signatures can make another team's. All are derived from
one of the platform: there is nothing to store or to lose, and any sender knows them.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from serve.config import Settings

PREFIX = "whsec_"
SHORTEST, LONGEST = 24, 64  # bytes, as the specification has it
_FILE = "webhook-secret"


def headers(secret: str, delivery_id: str, at: float, body: bytes) -> Mapping[str, str]:
    """What a receiver checks: `base64(HMAC-SHA256(secret, "{id}.{timestamp}.{body}"))`.

    Args:
        secret: `whsec_<base64>`.
        delivery_id: Has no dot.
        at: Epoch seconds; receivers refuse what is old.
        body: As it is sent, byte for byte.
    """
    stamp = str(int(at))
    signature = hmac.digest(key(secret), b".".join((delivery_id.encode(), stamp.encode(), body)), hashlib.sha256)
    return {
        "Webhook-Id": delivery_id,
        "Webhook-Timestamp": stamp,
        "Webhook-Signature": f"v1,{base64.b64encode(signature).decode()}",
    }


def key(secret: str) -> bytes:
    """The bytes of a secret.

    Raises:
        ValueError: It is not `whsec_<base64>` of 24 to 64 bytes. The message does not repeat it.
    """
    try:
        found = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        found = b""
    if not secret.startswith(PREFIX) or not SHORTEST <= len(found) <= LONGEST:
        raise ValueError(f"CN_WEBHOOK_SECRET must be {PREFIX}<base64 of {SHORTEST} to {LONGEST} bytes>")
    return found


def tenant_secret(master: str, tenant: str) -> str:
    """What `tenant` checks its webhooks with; `master` can't be found from it."""
    return _text(hmac.digest(key(master), f"webhooks of {tenant}".encode(), hashlib.sha256))


def master_secret(settings: Settings) -> str:
    """The platform's: of the settings, else kept in `data_dir`, where the first who needs it makes it.

    Raises:
        ValueError: It is malformed.
    """
    if settings.webhook_secret is not None:
        found = settings.webhook_secret.get_secret_value()
    else:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        found = _kept(settings.data_dir / _FILE)
    key(found)
    return found


def has_secret(settings: Settings) -> bool:
    """Whether the platform's secret is there already."""
    return settings.webhook_secret is not None or (settings.data_dir / _FILE).is_file()


def _kept(file: Path) -> str:
    """The file's content. It appears under its name whole, and once, whichever process is first."""
    if not file.exists():
        draft = file.with_name(f"{file.name}.{secrets.token_hex(8)}")
        try:
            with open(draft, "x", opener=_for_owner_only) as new:
                new.write(_text(secrets.token_bytes(32)))
            with contextlib.suppress(FileExistsError):
                os.link(draft, file)
        finally:
            draft.unlink(missing_ok=True)
    return file.read_text().strip()


def _text(secret: bytes) -> str:
    return PREFIX + base64.b64encode(secret).decode()


def _for_owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
