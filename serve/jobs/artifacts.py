"""Bytes that jobs read and write, in a folder, in memory or in a blob container.

A key is `{tenant}/{first two digits}/{sha256 of the bytes}{suffix}`: equal bytes are stored once, nothing is ever
changed, and the tenant is part of the name. A key that reads otherwise cannot name anything, so it is not looked up.
What was put outlives a power cut. What may be deleted, and when, is `retention`'s to say.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    GenericError,
    JoinError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import AzureStore, LocalStore, MemoryStore

from serve.errors import NotFound
from serve.jobs.database import RETRY_AFTER_S, StoreUnavailable
from serve.jobs.folder import Folder

if TYPE_CHECKING:
    from obstore.store import AzureConfig, ObjectStore

DELETION_S = 15.0
"""How long the deletion of one artifact may take."""

_TENANT = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}")
_KEY = re.compile(
    rf"(?P<tenant>{_TENANT.pattern})/(?P<shard>[0-9a-f]{{2}})/(?P<digest>(?P=shard)[0-9a-f]{{62}}){_SUFFIX.pattern}"
)


@dataclass(frozen=True, slots=True)
class Artifact:
    """What is stored under a key; `modified` in epoch seconds of the store's clock."""

    key: str
    size: int
    modified: float


class ArtifactStore:
    """Content-addressed, written once, each tenant by itself.

    Any method raises `StoreUnavailable` while the bytes cannot be reached or the disk is full, and may then be called
    again.

    Args:
        backend: The obstore store that holds the bytes.
        folder: Writes and deletes in its place where it is a folder: obstore does not wait for the disk.
    """

    def __init__(self, backend: ObjectStore, folder: Folder | None = None) -> None:
        self._backend = backend
        self._folder = folder

    @classmethod
    def open(cls, url: str, options: Mapping[str, str] | None = None) -> ArtifactStore:
        """Open the store at a URL: `file:///data/artifacts` (folders are made), `memory:///` or `az://container`.

        Args:
            url: Where.
            options: obstore's for Azure (`account_name`, `account_key`, `use_emulator` ...). Under workload identity
                `account_name` is all: obstore itself reads what AKS puts into a pod's environment.

        Raises:
            ValueError: Another kind of URL.
        """
        kind = url.partition(":")[0]
        if kind == "file":
            root = Path(unquote(urlsplit(url).path))
            folder = Folder(root)
            return cls(LocalStore(root), folder)
        if kind == "memory":
            return cls(MemoryStore())
        if kind == "az":
            config = cast("AzureConfig", dict(options or {}))
            plain = config.get("endpoint", "").startswith("http:")  # an emulator: nobody else gets by without TLS
            return cls(
                AzureStore.from_url(
                    url,
                    config=config,
                    client_options={"timeout": "30s", "allow_http": plain},
                    retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=10)},
                )
            )
        raise ValueError(f"artifacts {url!r}: choose file:///<folder>, memory:/// or az://<container>")

    async def put(self, tenant: str, data: bytes, suffix: str) -> str:
        """Store `data` and return its key; storing the same bytes again changes nothing, and mends what is damaged.

        Raises:
            ValueError: `tenant` or `suffix` cannot be part of a key.
        """
        if not _TENANT.fullmatch(tenant):
            raise ValueError(f"tenant {tenant!r} must match {_TENANT.pattern}")
        if not _SUFFIX.fullmatch(suffix):
            raise ValueError(f"suffix {suffix!r} must match {_SUFFIX.pattern}")
        digest = hashlib.sha256(data).hexdigest()
        key = key_of(tenant, digest, suffix)
        with _telling_unavailable():
            if self._folder is not None:
                await asyncio.to_thread(self._folder.put, key, data)
                return key
            try:
                await obstore.put_async(self._backend, key, data, mode="create")
            except AlreadyExistsError:
                found = await self._read(key)
                if found is None or hashlib.sha256(found).hexdigest() != digest:
                    await obstore.put_async(self._backend, key, data, mode="overwrite")
        return key

    async def get(self, key: str, tenant: str) -> bytes:
        """The bytes of `tenant`'s artifact `key`.

        Raises:
            NotFound: There is none, it is another tenant's, `key` is not a key, or its bytes are damaged.
        """
        digest = _digest(key, tenant)
        with _telling_unavailable():
            data = await self._read(key)
        if data is None:
            raise NotFound("There is no such artifact.")
        if hashlib.sha256(data).hexdigest() != digest:
            raise NotFound("The artifact is damaged.")
        return data

    async def exists(self, key: str, tenant: str) -> bool:
        """Whether `get` would look for bytes and find some."""
        try:
            _digest(key, tenant)
        except NotFound:
            return False
        with _telling_unavailable():
            return await self._size(key) is not None

    async def list(self, tenant: str | None = None) -> AsyncIterator[Sequence[Artifact]]:
        """All artifacts, or a tenant's, some hundreds at a time; what else may lie there is left out."""
        prefix = None if tenant is None else f"{tenant}/"
        with _telling_unavailable():
            async for found in obstore.list(self._backend, prefix=prefix, chunk_size=500):
                yield [
                    Artifact(meta["path"], meta["size"], meta["last_modified"].timestamp())
                    for meta in found
                    if _KEY.fullmatch(meta["path"])
                ]

    async def delete(self, wanted: Callable[[], Collection[str]]) -> dict[str, Exception | None]:
        """Delete artifacts, each by itself; one that is not there is deleted, and what is no key is left alone.

        Args:
            wanted: Their keys. Called in a thread, immediately before. In a folder no other process deletes from then
                until they are gone; elsewhere a deletion ends within `DELETION_S` of it.

        Returns:
            What kept each of them from being deleted, if anything did.
        """
        ends: dict[str, Exception | None] = {}

        def sound() -> list[str]:
            ends.update(dict.fromkeys(wanted()))
            return list(filter(_KEY.fullmatch, ends))

        if self._folder is not None:
            with _telling_unavailable():
                return ends | await asyncio.to_thread(self._folder.delete, sound)
        keys = await asyncio.to_thread(sound)
        return ends | dict(zip(keys, await asyncio.gather(*map(self._delete, keys)), strict=True))

    async def clean(self, before: float) -> int:
        """Delete what writes left that were cut off before `before`, in epoch seconds of the artifacts' store.

        Returns:
            How many there were. In a blob container there are none: a blob is there whole or not at all.
        """
        with _telling_unavailable():
            return 0 if self._folder is None else await asyncio.to_thread(self._folder.clean, before)

    async def _read(self, key: str) -> bytes | None:
        try:
            return bytes(await (await obstore.get_async(self._backend, key)).bytes_async())
        except FileNotFoundError:
            return None

    async def _delete(self, key: str) -> Exception | None:
        try:
            async with asyncio.timeout(DELETION_S):
                await obstore.delete_async(self._backend, key)
        except FileNotFoundError:
            return None
        except (BaseError, OSError) as error:
            return error
        return None

    async def _size(self, key: str) -> int | None:
        try:
            return (await obstore.head_async(self._backend, key))["size"]
        except FileNotFoundError:
            return None


@contextlib.contextmanager
def _telling_unavailable() -> Iterator[None]:
    """What is not about a key is about the store: no answer, no space left, no credentials (yet)."""
    try:
        yield
    except (GenericError, JoinError, OSError, PermissionDeniedError, UnauthenticatedError) as error:
        raise StoreUnavailable("The artifacts are not reachable.", retry_after_s=RETRY_AFTER_S) from error


def key_of(tenant: str, digest: str, suffix: str) -> str:
    """The key of `tenant`'s artifact whose bytes have the SHA-256 `digest`."""
    return f"{tenant}/{digest[:2]}/{digest}{suffix}"


def digest_of(key: str) -> str:
    """The SHA-256 of the bytes that a key names."""
    return key.rsplit("/", 1)[-1].partition(".")[0]


def _digest(key: str, tenant: str) -> str:
    """The digest in `key`, if it is a key of `tenant`."""
    match = _KEY.fullmatch(key)
    if match is None or match["tenant"] != tenant:
        raise NotFound("There is no such artifact.")
    return match["digest"]
