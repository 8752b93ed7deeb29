"""Bytes that jobs read and write, in a folder, in memory or in a blob container.

A key is `{tenant}/{first two digits}/{sha256 of the bytes}{suffix}`: equal bytes are stored once, nothing is ever
changed, and the tenant is part of the name. A key that reads otherwise cannot name anything, so it is not looked up.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import from_url

from serve.errors import NotFound

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_TENANT = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}")
_KEY = re.compile(
    rf"(?P<tenant>{_TENANT.pattern})/(?P<shard>[0-9a-f]{{2}})/(?P<digest>(?P=shard)[0-9a-f]{{62}}){_SUFFIX.pattern}"
)


class ArtifactStore:
    """Content-addressed, written once, each tenant by itself.

    Args:
        backend: The obstore store that holds the bytes.
    """

    def __init__(self, backend: ObjectStore) -> None:
        self._backend = backend

    @classmethod
    def open(cls, url: str) -> ArtifactStore:
        """Open the store at an obstore URL (`file:///data/artifacts`, `memory:///`); folders are made."""
        return cls(from_url(url, mkdir=True) if url.startswith("file:") else from_url(url))

    async def put(self, tenant: str, data: bytes, suffix: str) -> str:
        """Store `data` and return its key; storing the same bytes again changes nothing.

        Raises:
            ValueError: `tenant` or `suffix` cannot be part of a key.
        """
        if not _TENANT.fullmatch(tenant):
            raise ValueError(f"tenant {tenant!r} must match {_TENANT.pattern}")
        if not _SUFFIX.fullmatch(suffix):
            raise ValueError(f"suffix {suffix!r} must match {_SUFFIX.pattern}")
        digest = hashlib.sha256(data).hexdigest()
        key = f"{tenant}/{digest[:2]}/{digest}{suffix}"
        try:
            await obstore.put_async(self._backend, key, data, mode="create")
        except AlreadyExistsError:
            # Folders don't wait for the disk: a file that a power cut left short must not stand for these bytes.
            if (await obstore.head_async(self._backend, key))["size"] != len(data):
                await obstore.put_async(self._backend, key, data, mode="overwrite")
        return key

    async def get(self, key: str, tenant: str) -> bytes:
        """The bytes of `tenant`'s artifact `key`.

        Raises:
            NotFound: There is none, it is another tenant's, `key` is not a key, or its bytes are damaged.
        """
        digest = _digest(key, tenant)
        try:
            data = bytes(await (await obstore.get_async(self._backend, key)).bytes_async())
        except FileNotFoundError:
            raise NotFound("There is no such artifact.") from None
        if hashlib.sha256(data).hexdigest() != digest:
            raise NotFound("The artifact is damaged.")
        return data

    async def exists(self, key: str, tenant: str) -> bool:
        """Whether `get` would look for bytes and find some."""
        try:
            _digest(key, tenant)
            await obstore.head_async(self._backend, key)
        except (NotFound, FileNotFoundError):
            return False
        return True


def _digest(key: str, tenant: str) -> str:
    """The digest in `key`, if it is a key of `tenant`."""
    match = _KEY.fullmatch(key)
    if match is None or match["tenant"] != tenant:
        raise NotFound("There is no such artifact.")
    return match["digest"]
