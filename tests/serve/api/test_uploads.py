"""Bodies: limits while they are read, and what they must contain."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from serve.api.uploads import MAX_FIELDS, BodyLimit
from serve.errors import BodyTooLarge
from serve.jobs.store import JobStore
from tests.serve.api.conftest import Worker, canny, connected, field_of, picture, problem_of

URL = "/v1/images"
REQUEST = json.dumps({"prompt": "a gear", "controls": [{"type": "canny", "image": "photo"}]})


def photo(name: str = "photo.png") -> tuple[str, bytes, str]:
    return name, picture(), "image/png"


class Body:
    """Chunks as a server would hand them on; counts how many were taken."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = chunks
        self.taken = 0

    async def receive(self) -> Message:
        self.taken += 1
        if self.taken > len(self.chunks):
            return {"type": "http.disconnect"}
        return {
            "type": "http.request",
            "body": self.chunks[self.taken - 1],
            "more_body": self.taken < len(self.chunks),
        }


async def drain(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass


async def ignore(message: Message) -> None:
    pass


def scope_of(**headers: str) -> dict[str, Any]:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "headers": pairs}


async def test_a_body_within_the_limit_passes() -> None:
    body = Body(b"x" * 5, b"x" * 5)
    await BodyLimit(drain, max_bytes=10)(scope_of(content_length="10"), body.receive, ignore)
    assert body.taken == 2


async def test_a_declared_length_is_refused_before_anything_is_read() -> None:
    body = Body(b"x")
    with pytest.raises(BodyTooLarge):
        await BodyLimit(drain, max_bytes=10)(scope_of(content_length="11"), body.receive, ignore)
    assert body.taken == 0


@pytest.mark.parametrize("headers", [{}, {"content_length": "3"}], ids=["chunked", "lying"])
async def test_reading_stops_at_the_limit(headers: dict[str, str]) -> None:
    body = Body(*[b"x" * 4] * 100)
    with pytest.raises(BodyTooLarge):
        await BodyLimit(drain, max_bytes=10)(scope_of(**headers), body.receive, ignore)
    assert body.taken == 3


async def test_a_body_that_never_ends_arriving_times_out() -> None:
    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(HTTPException) as caught:
        await BodyLimit(drain, max_bytes=10, seconds=0.01)(scope_of(), receive, ignore)
    assert caught.value.status_code == 408


async def test_the_wait_for_a_disconnect_is_not_timed() -> None:
    body = Body(b"x")
    left = asyncio.Event()

    async def receive() -> Message:
        if body.taken:
            await left.wait()
        return await body.receive()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await drain(scope, receive, send)
        loop = asyncio.get_running_loop()
        loop.call_later(0.05, left.set)
        assert (await receive())["type"] == "http.disconnect"

    await BodyLimit(app, max_bytes=10, seconds=0.01)(scope_of(), receive, ignore)


async def test_other_protocols_pass() -> None:
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    await BodyLimit(app, max_bytes=1)({"type": "lifespan"}, Body().receive, ignore)
    assert seen == ["lifespan"]


@pytest.mark.parametrize("path", [URL, "/model/generate"])
@pytest.mark.parametrize("chunked", [True, False])
async def test_too_much_is_413(make_app: Callable[..., FastAPI], store: JobStore, path: str, chunked: bool) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"--b\r\nxxxxxxxx"

    content = chunks() if chunked else b"x" * 1200
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    async with connected(make_app(max_body=1000)) as client:
        answer = await client.post(path, content=content, headers=headers)
    # A part that is broken before the limit is reached is a fault of its own.
    assert answer.status_code in ((413, 400) if chunked else (413,))
    assert problem_of(answer, answer.status_code)


async def test_a_long_json_sent_in_chunks_is_413(make_app: Callable[..., FastAPI], store: JobStore) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 100

    async with connected(make_app(max_body=1000)) as client:
        answer = await client.post(URL, content=chunks(), headers={"Content-Type": "application/json"})
    assert "1000 bytes" in problem_of(answer, 413)["detail"]


async def test_a_long_file_sent_in_chunks_is_413(make_app: Callable[..., FastAPI], store: JobStore) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="photo"; filename="p"\r\n\r\n'
        for _ in range(100):
            yield b"x" * 100

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    async with connected(make_app(max_body=1000)) as client:
        problem_of(await client.post(URL, content=chunks(), headers=headers), 413)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", "image/png"])
async def test_other_content_types_are_415(client: httpx.AsyncClient, kind: str) -> None:
    answer = await client.post(URL, content=b"{}", headers={"Content-Type": kind})
    assert "application/json" in problem_of(answer, 415)["detail"]


async def test_a_content_type_may_have_parameters(client: httpx.AsyncClient, worker: Worker) -> None:
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    answer = await client.post(URL, content=b'{"prompt": "a gear"}', headers=headers)
    assert answer.status_code == 200


async def test_a_multipart_body_needs_the_request(client: httpx.AsyncClient) -> None:
    assert field_of(await client.post(URL, files={"photo": photo()})) == "request"


async def test_a_multipart_body_has_no_other_fields(client: httpx.AsyncClient) -> None:
    answer = await client.post(URL, data={"request": REQUEST, "prompt": "x"}, files={"photo": photo()})
    assert field_of(answer) == "prompt"


async def test_two_requests_are_malformed(client: httpx.AsyncClient) -> None:
    answer = await client.post(URL, data={"request": [REQUEST, REQUEST]}, files={"photo": photo()})
    assert "'request' twice" in problem_of(answer, 400)["detail"]


async def test_a_file_that_nothing_names_is_refused(client: httpx.AsyncClient) -> None:
    files = {"photo": photo(), "spare": photo("z.png")}
    answer = await client.post(URL, data={"request": REQUEST}, files=files)
    assert field_of(answer) == "spare"
    assert "does not use this file" in answer.json()["detail"]


async def test_a_name_that_two_files_have_is_refused(client: httpx.AsyncClient) -> None:
    files = [("photo", photo()), ("photo", photo())]
    answer = await client.post(URL, data={"request": REQUEST}, files=files)
    assert field_of(answer) == "controls.0.image"
    assert "2 uploaded files" in answer.json()["detail"]


async def test_a_name_that_no_file_has_lists_those_there_are(client: httpx.AsyncClient) -> None:
    answer = await client.post(URL, data={"request": REQUEST}, files={"edges": photo("e.png")})
    assert field_of(answer) == "controls.0.image"
    assert "there are e.png, edges" in answer.json()["detail"]


async def test_names_in_plain_json_are_told_about_multipart(client: httpx.AsyncClient) -> None:
    answer = await client.post(URL, json={"prompt": "a gear", "controls": [canny(image="photo.png")]})
    assert "multipart/form-data" in problem_of(answer, 422)["detail"]


async def test_one_file_may_be_named_twice(client: httpx.AsyncClient, worker: Worker) -> None:
    request = {"prompt": "a gear", "controls": [canny(image="photo"), {"type": "sketch", "map": "photo"}]}
    answer = await client.post(URL, data={"request": json.dumps(request)}, files={"photo": photo()})
    assert answer.status_code == 200


async def test_a_flood_of_files_is_refused(make_app: Callable[..., FastAPI], store: JobStore) -> None:
    files = [(f"f{i}", ("x", b"x", "image/png")) for i in range(50)]
    async with connected(make_app(max_images=2, max_controls=1)) as client:
        problem_of(await client.post(URL, data={"request": REQUEST}, files=files), 400)


async def test_a_flood_of_fields_is_refused(client: httpx.AsyncClient) -> None:
    fields = {f"f{i}": "x" for i in range(MAX_FIELDS + 1)}
    problem_of(await client.post(URL, data=fields, files={"photo": photo()}), 400)
