"""Bodies: read within limits, and taken apart into one JSON object and the files it names."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from anyio import to_thread
from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.api import strictjson
from serve.api.pictures import decode_base64
from serve.errors import BodyTooLarge, InvalidRequest, MalformedRequest

MAX_FIELDS = 32
SHORTEST_PICTURE = 64  # base64 characters; the smallest PNG has 92. A shorter text can only be a file's name


class BodyLimit:
    """ASGI middleware: a body has at most so many bytes and so many seconds, whatever its headers say.

    Args:
        app: What is limited.
        max_bytes: Of the body as received.
        seconds: From the first byte asked for to the last, against clients that send a byte a minute.
        count: Told the size of each body that arrived whole.
    """

    def __init__(
        self, app: ASGIApp, max_bytes: int, seconds: float = 60.0, count: Callable[[int], None] = lambda size: None
    ) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._count = count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        length = headers.get(b"content-length")
        if length is not None and b"transfer-encoding" in headers:
            # Where the body ends depends on whom one asks, and what follows may be another request, slipped past
            # whoever asked first (RFC 9112, section 6.3): nothing after it is read.
            raise HTTPException(400, "Send `Content-Length` or `Transfer-Encoding`, not both.", {"Connection": "close"})
        if length is not None and (not length.isdigit() or int(length) > self._max_bytes):
            raise self._too_large()
        received = 0
        complete = False
        deadline: float | None = None

        async def limited() -> Message:
            nonlocal received, complete, deadline
            if complete:  # what follows is the wait for a disconnect, which may be long
                return await receive()
            deadline = deadline or asyncio.get_running_loop().time() + self._seconds
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, f"The body did not arrive within {self._seconds:g} s.") from None
            received += len(message.get("body", b""))
            complete = message["type"] != "http.request" or not message.get("more_body", False)
            if received > self._max_bytes:
                raise self._too_large()
            if complete and received:
                self._count(received)
            return message

        await self._app(scope, limited, send)

    def _too_large(self) -> BodyTooLarge:
        return BodyTooLarge(f"The body has more than {self._max_bytes} bytes, the most that is accepted.")


@dataclass(slots=True)
class Uploads:
    """Files of a multipart body, by field name and by file name. Each must be used, and by a name that fits only one.

    Args:
        multipart: Whether files could be sent at all, for a better error.
    """

    multipart: bool = True
    _files: list[tuple[frozenset[str], bytes]] = field(default_factory=list)
    _used: set[int] = field(default_factory=set)

    def add(self, field_name: str, file_name: str | None, data: bytes) -> None:
        """Keep one file."""
        self._files.append((frozenset({field_name, file_name or field_name}), data))

    def has(self, name: str) -> bool:
        """Whether a file is called so."""
        return any(name in names for names, _ in self._files)

    def resolve(self, text: str, where: str) -> bytes:
        """The picture that a request's `image` or `map` means: an uploaded file's name, or base64.

        Raises:
            InvalidRequest: Neither, or a name that two files have.
        """
        found = [index for index, (names, _) in enumerate(self._files) if text in names]
        if len(found) > 1:
            raise InvalidRequest(f"{len(found)} uploaded files are called {text!r}.", field=where)
        if found:
            self._used.add(found[0])
            return self._files[found[0]][1]
        if len(text) < SHORTEST_PICTURE:
            hint = self._names() if self.multipart else "files can only be sent as multipart/form-data"
            raise InvalidRequest(f"No uploaded file is called {text!r}: {hint}.", field=where)
        return decode_base64(text, where)

    def check_all_used(self) -> None:
        """Refuse files that the request does not name: a typing error, more likely than not."""
        for index, (names, _) in enumerate(self._files):
            if index not in self._used:
                name = min(names)
                raise InvalidRequest("The request does not use this file: name it where a picture goes.", field=name)

    def _names(self) -> str:
        names = sorted(set().union(*(names for names, _ in self._files))) if self._files else []
        return f"there are {', '.join(names)}" if names else "none was uploaded"


async def read_request(
    request: Request, max_files: int, max_bytes: int, default: bytes | None = None
) -> tuple[dict[str, Any], Uploads]:
    """The JSON object of a body and the files beside it: `application/json`, or `multipart/form-data` with `request`.

    Args:
        request: Its body is not read yet.
        max_files: Most files.
        max_bytes: Largest text field.
        default: The JSON of a form that has none; without it the form must have one.

    Raises:
        MalformedRequest: The body can't be read.
        InvalidRequest: A part that nothing asks for, or none called `request`.
        HTTPException: 415 for another content type.
    """
    if _content_type(request, "application/json", "multipart/form-data") == "application/json":
        data = b"".join([chunk async for chunk in request.stream()])  # body() would keep it as long as the request
        return await to_thread.run_sync(strictjson.loads, data), Uploads(multipart=False)
    uploads = Uploads()
    texts: dict[str, bytes] = {}
    async with request.form(max_files=max_files + 1, max_fields=MAX_FIELDS, max_part_size=max_bytes) as form:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile) and name != "request":
                uploads.add(name, value.filename, await value.read())
                continue
            if name != "request":
                raise InvalidRequest("is not a known field: send the JSON as `request`, and files", field=name)
            if name in texts:
                raise MalformedRequest("The form has the field 'request' twice.")
            texts[name] = await value.read() if isinstance(value, UploadFile) else value.encode("utf-8", "replace")
    text = texts.get("request", default)
    if text is None:
        raise InvalidRequest("is required: the JSON of the request", field="request")
    return await to_thread.run_sync(strictjson.loads, text), uploads


async def read_json(request: Request, max_bytes: int, default: bytes | None = None) -> dict[str, Any]:
    """The JSON object of a small body.

    Args:
        request: Its body is not read yet.
        max_bytes: Largest body.
        default: The JSON of a body that is empty.

    Raises:
        MalformedRequest: It can't be read.
        BodyTooLarge: It has more bytes.
        HTTPException: 415 for another content type.
    """
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > max_bytes:
            raise BodyTooLarge(f"The body has more than {max_bytes} bytes, the most that is accepted here.")
    if not data and default is not None:
        return strictjson.loads(default)
    _content_type(request, "application/json")
    return strictjson.loads(bytes(data))


async def read_form(
    request: Request, texts: Collection[str], files: Collection[str], max_bytes: int
) -> tuple[dict[str, str], dict[str, bytes]]:
    """The text fields and files of a plain form, each at most once.

    Args:
        request: Its body is not read yet.
        texts: Fields that are texts. Others come back too, for the caller to name all at once.
        files: Fields that are files.
        max_bytes: Largest text field.

    Raises:
        MalformedRequest: The body can't be read, or has a field twice.
        InvalidRequest: A file where a text belongs, or the other way round; a file that nothing asks for.
        HTTPException: 415 for another content type.
    """
    _content_type(request, "multipart/form-data")
    found: dict[str, str] = {}
    contents: dict[str, bytes] = {}
    async with request.form(max_files=len(files) + 1, max_fields=MAX_FIELDS, max_part_size=max_bytes) as form:
        for name, value in form.multi_items():
            if name in found or name in contents:
                raise MalformedRequest(f"The form has the field {name[:80]!r} twice.")
            if isinstance(value, UploadFile):
                if name not in files:
                    raise InvalidRequest("must be a text" if name in texts else "is not a known field", field=name)
                contents[name] = await value.read()
            elif name in files:
                raise InvalidRequest("must be a file", field=name)
            else:
                strictjson.check_text(value, name)
                found[name] = value
    return found, contents


def _content_type(request: Request, *choices: str) -> str:
    found = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if found not in choices:
        raise HTTPException(415, f"The body must be {' or '.join(choices)}.")
    return found
