"""A job's events over connections that break. Every test of a client runs both."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.server
import threading

import httpx
import pytest

from serve.client import (
    Annotated,
    AsyncClient,
    Client,
    Ended,
    ImageDone,
    Progressed,
    Queued,
    Retries,
    Started,
    StreamBroken,
    UnexpectedAnswer,
    Unreachable,
)
from serve.errors import NotFound, Overloaded
from tests.serve.client.conftest import DONE, ENDED, JOB, Wire, event, ok, problem, streamed

QUEUED = event("queued", {"job": "job_1", "position": 2, "attempt": 0}, 3)
STARTED = event("started", {"job": "job_1", "attempt": 1}, 4)
PROGRESS = event("progress", {"job": "job_1", "steps": [3], "of": 10})


def resumed_after(wire: Wire) -> list[str | None]:
    return [request.headers.get("Last-Event-ID") for request in wire.requests]


def test_events_come_with_what_they_say(wire: Wire) -> None:
    control_map = {"index": 0, "type": "canny", "id": "map_ab", "url": "/v1/jobs/job_1/controls/0"}
    annotated = event("annotated", {"job": "job_1", "control_maps": [control_map]}, 5)
    image = event("image", {"job": "job_1", "index": 1, "seed": 7, "url": "/v1/jobs/job_1/images/1"}, 6)
    wire.answers(streamed(QUEUED, STARTED, annotated, PROGRESS, image, ENDED))
    queued, started, maps, progress, done, ended = wire.call("events", "job_1")
    assert queued == Queued(position=2, attempt=0)
    assert started == Started(attempt=1)
    assert isinstance(maps, Annotated)
    assert maps.control_maps[0].id == "map_ab"
    assert progress == Progressed(steps=(3,), of=10)
    assert done == ImageDone(index=1, seed=7, url="/v1/jobs/job_1/images/1")
    assert isinstance(ended, Ended)
    assert ended.job.state == "succeeded"
    assert wire.requests[0].headers["Accept"] == "text/event-stream"


@pytest.mark.parametrize("kind", ["succeeded", "failed", "cancelled"])
def test_each_end_is_one(wire: Wire, kind: str) -> None:
    wire.answers(streamed(event(kind, {"job": DONE | {"state": kind}})))
    (ended,) = wire.call("events", "job_1")
    assert ended.job.state == kind


def test_nothing_comes_after_the_end(wire: Wire) -> None:
    wire.answers(streamed(ENDED + QUEUED, STARTED))
    assert [type(item) for item in wire.call("events", "job_1")] == [Ended]


def test_the_end_closes_the_connection_though_the_server_keeps_it(wire: Wire) -> None:
    answer = streamed(ENDED, error=AssertionError("read on"))
    wire.answers(answer).call("events", "job_1")
    assert answer.is_closed


def test_kinds_and_comments_that_are_unknown_are_let_by(wire: Wire) -> None:
    wire.answers(streamed(b": keep-alive\n\n", event("from-the-future", {"x": 1}, 4), ENDED))
    assert len(wire.call("events", "job_1")) == 1


@pytest.mark.parametrize(
    "error", [None, httpx.ReadError("reset"), httpx.RemoteProtocolError("cut"), httpx.ReadTimeout("")]
)
def test_a_stream_that_broke_is_taken_up_after_its_last_event(wire: Wire, error: Exception | None) -> None:
    wire.answers(streamed(QUEUED, STARTED, PROGRESS, error=error), streamed(ENDED))
    assert [type(item) for item in wire.call("events", "job_1")] == [Queued, Started, Progressed, Ended]
    assert resumed_after(wire) == [None, "4"]
    assert wire.pauses == [1.0]


def test_half_an_event_is_not_one(wire: Wire) -> None:
    wire.answers(streamed(QUEUED, STARTED[:-1]), streamed(STARTED, ENDED))
    assert [type(item) for item in wire.call("events", "job_1")] == [Queued, Started, Ended]
    assert resumed_after(wire) == [None, "3"]


def test_half_a_character_does_not_spoil_the_next_connection(wire: Wire) -> None:
    wire.answers(streamed(QUEUED, b"data: \xe6\x97"), streamed(ENDED))
    assert [type(item) for item in wire.call("events", "job_1")] == [Queued, Ended]


def test_events_can_begin_after_a_known_one(wire: Wire) -> None:
    wire.answers(streamed(ENDED)).call("events", "job_1", "7")
    assert resumed_after(wire) == ["7"]


def test_after_the_last_event_there_is_none(wire: Wire) -> None:
    assert wire.answers(httpx.Response(204)).call("events", "job_1", "9") == []


PARTIAL = DONE | {"state": "partial"}


def test_an_end_of_a_newer_api_is_one(wire: Wire) -> None:
    wire.answers(streamed(QUEUED, event("partial", {"job": PARTIAL}, 9)))
    _, ended = wire.call("events", "job_1")
    assert isinstance(ended, Ended)
    assert (ended.job.state, ended.job.terminal) == ("partial", True)


def test_a_job_that_goes_on_is_no_end_whatever_its_event_is_called(wire: Wire) -> None:
    paused = event("paused", {"job": JOB | {"state": "paused"}}, 5)
    wire.answers(streamed(paused, event("resumed", {"job": JOB | {"state": "running"}}, 6), ENDED))
    assert [type(item) for item in wire.call("events", "job_1")] == [Ended]


def test_a_known_end_may_have_an_unknown_state(wire: Wire) -> None:
    wire.answers(streamed(event("succeeded", {"job": PARTIAL}, 9)))
    assert wire.call("wait", "job_1").state == "partial"


def test_an_end_that_was_not_understood_is_asked_for(wire: Wire) -> None:
    """Its stream stops, and the next one has nothing more to tell."""
    wire.answers(streamed(event("partial", {"job": "job_1"}, 9)), httpx.Response(204), ok(PARTIAL))
    assert wire.call("wait", "job_1").state == "partial"
    assert resumed_after(wire) == [None, "9", None]


def test_waiting_for_an_end_that_is_not_told_raises(wire: Wire) -> None:
    wire.answers(httpx.Response(204), ok(JOB))
    with pytest.raises(StreamBroken):
        wire.call("wait", "job_1")


def test_an_end_that_never_comes_raises(wire: Wire) -> None:
    wire.answers(*(streamed(b": keep-alive\n\n") for _ in range(4)))
    with pytest.raises(StreamBroken, match="it ended before the job did"):
        wire.call("events", "job_1")
    assert wire.pauses == [1.0, 2.0, 3.0]


def test_an_api_that_is_not_there_is_unreachable(wire: Wire) -> None:
    wire.answers(streamed(QUEUED), *[httpx.ConnectError("refused")] * 3)
    with pytest.raises(Unreachable, match="refused"):
        wire.call("events", "job_1")
    assert wire.pauses == [1.0, 2.0, 3.0]


def test_a_connection_that_brought_an_event_was_no_failure(wire: Wire) -> None:
    wire.answers(*(streamed(PROGRESS) for _ in range(9)), streamed(ENDED))
    assert len(wire.call("events", "job_1")) == 10
    assert wire.pauses == [1.0] * 9


def test_a_connection_that_held_was_no_failure(wire: Wire) -> None:
    """A job that waits long brings nothing, and what lies between cuts connections off now and then."""

    def held() -> httpx.Response:
        wire.now += 60.0
        return streamed(b": keep-alive\n\n")

    wire.answers(*[held] * 9, streamed(ENDED))
    assert len(wire.call("events", "job_1")) == 1
    assert wire.pauses == [1.0] * 9


def test_the_server_may_ask_for_a_longer_pause(wire: Wire) -> None:
    wire.answers(streamed(b"retry: 2500\n\n" + QUEUED), streamed(), streamed(ENDED))
    wire.call("events", "job_1")
    assert wire.pauses == [2.5, 2.5]


def test_a_busy_api_is_asked_again(wire: Wire) -> None:
    wire.answers(problem(503, "overloaded", {"Retry-After": "5"}), streamed(ENDED))
    assert len(wire.call("events", "job_1")) == 1
    assert wire.pauses == [6.0]


def test_a_busy_api_is_not_asked_for_ever(wire: Wire) -> None:
    wire.answers(*(problem(503, "overloaded") for _ in range(4)))
    with pytest.raises(Overloaded):
        wire.call("events", "job_1")


def test_a_job_that_is_not_there_is_said_once(wire: Wire) -> None:
    wire.answers(problem(404, "not-found"))
    with pytest.raises(NotFound):
        wire.call("events", "job_1")
    assert wire.pauses == []


def test_an_answer_that_is_no_stream_is_unexpected(wire: Wire) -> None:
    wire.answers(httpx.Response(200, text="<html>", headers={"Content-Type": "text/html"}))
    with pytest.raises(UnexpectedAnswer, match="answered 200 with text/html"):
        wire.call("events", "job_1")


def test_an_event_that_lacks_something_is_unexpected(wire: Wire) -> None:
    wire.answers(streamed(event("image", {"job": "job_1"})))
    with pytest.raises(UnexpectedAnswer, match="'image'"):
        wire.call("events", "job_1")


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_events_come_as_they_happen(kind: str) -> None:
    """Over a real socket: the server says the second only when the first has arrived."""
    arrived = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            self.wfile.write(QUEUED)
            if arrived.wait(30):
                self.wfile.write(ENDED)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    def listen(url: str) -> None:
        with Client(url, retries=Retries(attempts=1)) as client:
            for _ in client.events("job_1"):
                arrived.set()

    async def listen_async(url: str) -> None:
        async with AsyncClient(url, retries=Retries(attempts=1)) as client:
            async for _ in client.events("job_1"):
                arrived.set()

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}"
            asyncio.run(listen_async(url)) if kind == "async" else listen(url)
        finally:
            server.shutdown()
            thread.join()


def test_leaving_early_closes_the_connection() -> None:
    answer = streamed(QUEUED, STARTED)
    with Client("http://api.test", transport=httpx.MockTransport(lambda request: answer)) as client:
        with contextlib.closing(client.events("job_1")) as events:
            next(events)
        assert answer.is_closed


@pytest.mark.parametrize(
    ("preview", "picture"),
    [(None, None), ("data:image/png;base64," + base64.b64encode(b"png").decode(), b"png"), ("data:,!", None)],
)
def test_a_preview_is_a_picture(preview: str | None, picture: bytes | None) -> None:
    assert Progressed(steps=(1,), of=2, preview=preview).picture == picture
