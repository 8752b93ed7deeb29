"""The keys that an issuer of tokens signs with: found by discovery, kept, and fetched again when one is unknown.

OpenID Connect Discovery 1.0 and RFC 7517. Strangers choose the key ids that are asked for, so unknown ones cause at
most one fetch in `FETCH_EVERY_S`, however many there are; known ones cause none while the set is young.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx
import jwt

from serve.errors import Overloaded
from serve.loopback import is_loopback

log = logging.getLogger(__name__)

ALGORITHMS = ("RS256", "ES256")
"""Signatures of a private key alone: with `none` or a shared secret anybody could sign."""

ALONE = ""
"""The id of the only key of a set: that of tokens which name none (OpenID Connect Core 1.0, section 10.1)."""

FETCH_EVERY_S = 10.0
YOUNG_S = 3600.0
"""A set older than this is fetched again when it is used: a key that the issuer withdrew is forgotten."""

OLDEST_S = 24 * 3600.0
"""So long a set is good while the issuer does not answer."""

FETCH_S = 5.0
LARGEST = 1 << 20  # bytes of a document
FEWEST_RSA_BITS = 2048

Fetch = Callable[[str], Awaitable[bytes]]
"""Gets a document; `OSError` or `ValueError` where it can't."""


class KeySet:
    """An issuer's public keys by their id. Used on one event loop.

    Args:
        issuer: Its URL; discovery must repeat it.
        fetch: Gets a document.
        clock: Seconds that only grow.
    """

    def __init__(self, issuer: str, fetch: Fetch, clock: Callable[[], float]) -> None:
        self._issuer = issuer
        self._fetch = fetch
        self._clock = clock
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._fetched_at, self._tried_at = -math.inf, -math.inf
        self._lock = asyncio.Lock()

    async def key(self, kid: str) -> jwt.PyJWK | None:
        """The key of an id; none where the issuer has no such key.

        Raises:
            Overloaded: The issuer doesn't answer, and might have one.
        """
        if self._has(kid, YOUNG_S):
            return self._keys[kid]
        async with self._lock:
            if not self._has(kid, YOUNG_S) and self._clock() >= self._tried_at + FETCH_EVERY_S:
                await self._refresh()
        if self._has(kid, OLDEST_S):
            return self._keys[kid]
        if self._fetched_at < self._tried_at:
            raise Overloaded("The issuer of tokens doesn't answer just now.", retry_after_s=FETCH_EVERY_S)
        return None

    def _has(self, kid: str, age_s: float) -> bool:
        return kid in self._keys and self._clock() < self._fetched_at + age_s

    async def _refresh(self) -> None:
        self._tried_at = self._clock()
        try:
            self._keys = await self._read()
        except (OSError, ValueError) as error:
            log.warning("the issuer's keys can't be had", extra={"reason": f"{type(error).__name__}: {error}"[:300]})
        else:
            self._fetched_at = self._tried_at

    async def _read(self) -> Mapping[str, jwt.PyJWK]:
        url = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
        discovery = _object(await self._fetch(url))
        if discovery.get("issuer") != self._issuer:
            raise ValueError(f"{url} is of another issuer")
        keys_url = discovery.get("jwks_uri")
        if not isinstance(keys_url, str) or not is_safe(keys_url):
            raise ValueError(f"{url} has no jwks_uri that is https")
        found = _object(await self._fetch(keys_url)).get("keys")
        if not isinstance(found, list):
            raise ValueError(f"{keys_url} has no keys")
        pairs = [pair for item in found if (pair := _signing_key(item)) is not None]
        keys = {kid: key for kid, key in pairs if kid != ALONE}
        return keys | ({ALONE: pairs[0][1]} if len(pairs) == 1 else {})


async def fetch(url: str) -> bytes:
    """A document over HTTP, bounded in bytes and seconds; no redirect is followed.

    Raises:
        OSError: It can't be had.
        ValueError: It is too large.
    """
    data = bytearray()
    try:
        async with asyncio.timeout(FETCH_S), httpx.AsyncClient() as http, http.stream("GET", url) as answer:
            if answer.status_code != 200:
                raise OSError(f"{url} answered {answer.status_code}")
            async for chunk in answer.aiter_bytes():
                data += chunk
                if len(data) > LARGEST:
                    raise ValueError(f"{url} has more than {LARGEST} bytes")
    except (httpx.HTTPError, TimeoutError) as error:
        raise OSError(f"{url}: {type(error).__name__}") from error
    return bytes(data)


def is_safe(url: str) -> bool:
    """Whether what comes from a URL can be believed: https, or this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)))


def _object(data: bytes) -> dict[str, Any]:
    found = json.loads(data)
    if not isinstance(found, dict):
        raise ValueError("a document is no JSON object")
    return found


def _signing_key(item: object) -> tuple[str, jwt.PyJWK] | None:
    """A key that tokens may be signed with. What else is in the set (encryption, other algorithms) is not ours."""
    if not isinstance(item, dict) or item.get("use", "sig") != "sig" or not isinstance(item.get("kid", ALONE), str):
        return None
    try:
        key = jwt.PyJWK(item)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    if key.algorithm_name not in ALGORITHMS or (key.key_type == "RSA" and key.key.key_size < FEWEST_RSA_BITS):
        return None
    return item.get("kid", ALONE), key
