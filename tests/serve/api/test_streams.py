"""Streams end when they should: with their reader, with one that stands still, with the process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import uvicorn
from starlette.requests import ClientDisconnect
from starlette.types import Message

from serve.api.__main__ import Server
from serve.api.streams import EventStream, Streams, event
from serve.errors import Overloaded, TooManyRequests

SCOPE = {"type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}}


async def ticks() -> AsyncIterator[bytes]:
    while True:
        yield b": tick\n\n"
        await asyncio.sleep(0.001)


async def stays() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


class Client:
    """The other end of a stream."""

    def __init__(self, takes: int = 1_000_000) -> None:
        self.sent: list[Message] = []
        self.enough = asyncio.Event()
        self._takes = takes

    async def send(self, message: Message) -> None:
        self.sent.append(message)
        if len(self.sent) >= 3:
            self.enough.set()
        if len(self.sent) > self._takes:
            await asyncio.Event().wait()

    async def leaves(self) -> Message:
        await self.enough.wait()
        return {"type": "http.disconnect"}


@pytest.fixture
def streams() -> Streams:
    return Streams(most=2)


def start(streams: Streams, client: Client, receive: Callable[[], Any] = stays, **how: Any) -> asyncio.Task[None]:
    return asyncio.ensure_future(EventStream(ticks(), streams, "acme", **how)(SCOPE, receive, client.send))


def test_an_event_is_one_line_of_json() -> None:
    written = event("image", {"text": "a\nb\u2028c"}, 7).decode()
    assert written.startswith("id: 7\nevent: image\ndata: ")
    assert written.endswith("\n\n")
    data = written.split("data: ")[1]
    assert data.count("\n") == 2
    assert json.loads(data) == {"text": "a\nb\u2028c"}


def test_what_stands_between_events_has_no_id() -> None:
    assert event("progress", {}) == b"event: progress\ndata: {}\n\n"


async def test_nothing_on_the_way_keeps_events(streams: Streams) -> None:
    client = Client()
    task = start(streams, client)
    await client.enough.wait()
    headers = dict(client.sent[0]["headers"])
    assert headers[b"content-type"].startswith(b"text/event-stream")
    assert (headers[b"cache-control"], headers[b"x-accel-buffering"]) == (b"no-store", b"no")
    task.cancel()


async def test_a_stream_ends_with_its_reader(streams: Streams) -> None:
    client = Client()
    await start(streams, client, client.leaves)
    assert streams.count("acme") == 0


async def test_a_reader_that_stands_still_is_given_up(streams: Streams) -> None:
    with pytest.raises(ClientDisconnect):
        await start(streams, Client(takes=2), stalled_s=0.02)
    assert streams.count("acme") == 0


async def test_a_reader_that_stands_still_stops_nobody_else(streams: Streams) -> None:
    still, lively = Client(takes=2), Client()
    tasks = [start(streams, still), start(streams, lively)]
    await still.enough.wait()
    before = len(lively.sent)
    while len(lively.sent) < before + 5:
        await asyncio.sleep(0)
    assert len(still.sent) == 3  # what it did not take was not made
    for task in tasks:
        task.cancel()


async def test_each_team_has_its_own_number_of_streams(streams: Streams) -> None:
    clients = [Client(), Client()]
    tasks = [start(streams, client) for client in clients]
    for client in clients:
        await client.enough.wait()
    with pytest.raises(TooManyRequests):
        await start(streams, Client())
    with streams.slot("other"):
        assert streams.count("other") == 1
    for task in tasks:
        task.cancel()


async def test_a_process_that_ends_ends_its_streams_in_order(streams: Streams) -> None:
    client = Client()
    task = start(streams, client)
    await client.enough.wait()
    streams.close()
    await task
    assert client.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


async def test_a_process_that_ends_begins_no_stream(streams: Streams) -> None:
    streams.close()
    with pytest.raises(Overloaded):
        await start(streams, Client())


async def test_a_stream_that_somebody_else_cancels_is_cancelled(streams: Streams) -> None:
    client = Client()
    task = start(streams, client)
    await client.enough.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_server_that_stops_does_not_wait_for_streams(streams: Streams) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError

    config = uvicorn.Config(app, lifespan="off", log_config=None)
    config.load()
    server = Server(config, streams)
    server.lifespan = config.lifespan_class(config)
    server.servers = []
    await server.shutdown()
    assert streams.closed
