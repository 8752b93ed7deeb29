"""Both clients over a script instead of sockets, with sleeping, clock and luck in the test's hands."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, Literal

import httpx
import pytest

from serve.client import AsyncClient, Client, Retries

URL = "https://api.test"
JOB: dict[str, Any] = {
    "id": "job_1",
    "kind": "images",
    "state": "queued",
    "attempt": 0,
    "position": 2,
    "progress": None,
    "n": 2,
    "parameters": {"prompt": "a gear", "steps": 10},
    "model": {"name": "demo", "version": "3", "digest": "sha256:ab"},
    "images": [],
    "control_maps": [],
    "error": None,
    "timings": None,
    "created_at": 1000.0,
    "started_at": None,
    "finished_at": None,
    "expires_at": None,
    "links": {"self": "/v1/jobs/job_1", "events": "/v1/jobs/job_1/events", "archive": "/v1/jobs/job_1/archive"},
}
DONE = JOB | {"state": "succeeded", "position": None, "attempt": 1, "timings": {"sampling": 0.5}, "finished_at": 1001.0}


def ok(content: Any, status: int = 200) -> httpx.Response:
    return httpx.Response(status, json=content)


def png(text: bytes) -> httpx.Response:
    return httpx.Response(200, content=text, headers={"Content-Type": "image/png"})


def problem(status: int, kind: str, headers: dict[str, str] | None = None, **members: Any) -> httpx.Response:
    body = {
        "type": f"/problems/{kind}",
        "title": "t",
        "status": status,
        "detail": "no",
        "request_id": "req_1",
        **members,
    }
    return httpx.Response(
        status,
        content=json.dumps(body),
        headers={"Content-Type": "application/problem+json", **(headers or {})},
    )


def event(kind: str, data: dict[str, Any], number: int | None = None) -> bytes:
    head = "" if number is None else f"id: {number}\n"
    return f"{head}event: {kind}\ndata: {json.dumps(data)}\n\n".encode()


ENDED = event("succeeded", {"job": DONE}, 9)


class Stream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """Chunks, and an error after them if there is one."""

    def __init__(self, chunks: Iterable[bytes], error: Exception | None = None) -> None:
        self._chunks, self._error = list(chunks), error

    def __iter__(self) -> Iterator[bytes]:
        yield from self._chunks
        if self._error is not None:
            raise self._error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            yield chunk


def streamed(*chunks: bytes, error: Exception | None = None) -> httpx.Response:
    return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, stream=Stream(chunks, error))


class Wire:
    """Answers requests in the order of its script; any request that is not in it fails the test.

    Attributes:
        requests: What was sent, with its body read.
        pauses: Seconds slept.
        now: Of the clock.
    """

    def __init__(self, kind: Literal["sync", "async"]) -> None:
        self._kind = kind
        self.script: list[httpx.Response | Exception | Callable[[], httpx.Response]] = []
        self.requests: list[httpx.Request] = []
        self.pauses: list[float] = []
        self.now = 0.0
        self.luck = 1.0
        self.retries = Retries(attempts=4, first_s=1.0, longest_s=3.0, patience_s=60.0)
        self.key: str | None = None

    def answers(self, *script: httpx.Response | Exception | Callable[[], httpx.Response]) -> Wire:
        self.script = list(script)
        return self

    def call(self, method: str, *arguments: Any, **named: Any) -> Any:
        """What a method of the client returns; all of it where it iterates."""
        if self._kind == "async":
            return asyncio.run(self._call(method, *arguments, **named))
        with Client(
            URL,
            self.key,
            retries=self.retries,
            transport=httpx.MockTransport(self._handle),
            sleep=self.pauses.append,
            clock=lambda: self.now,
            luck=lambda: self.luck,
            new_key=lambda: "key-1",
        ) as client:
            found = getattr(client, method)(*arguments, **named)
            return list(found) if method in ("jobs", "events") else found

    async def _call(self, method: str, *arguments: Any, **named: Any) -> Any:
        async def sleep(seconds: float) -> None:
            self.pauses.append(seconds)

        async with AsyncClient(
            URL,
            self.key,
            retries=self.retries,
            transport=httpx.MockTransport(self._handle),
            sleep=sleep,
            clock=lambda: self.now,
            luck=lambda: self.luck,
            new_key=lambda: "key-1",
        ) as client:
            found = getattr(client, method)(*arguments, **named)
            if method not in ("jobs", "events"):
                return await found
            async with contextlib.aclosing(found) as items:
                return [item async for item in items]

    def _handle(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.script.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else answer()


@pytest.fixture(params=["sync", "async"])
def wire(request: pytest.FixtureRequest) -> Iterator[Wire]:
    wire = Wire(request.param)
    yield wire
    assert wire.script == [], "fewer requests were made than the test has answers for"
