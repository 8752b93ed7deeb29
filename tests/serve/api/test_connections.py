"""Strangers on real sockets: who is slow, who floods, who writes what is no HTTP, who says two things at once."""

from __future__ import annotations

import asyncio
import json
import select
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from serve.api.connections import BOUNDS, Bounds, Connection
from serve.jobs.store import JobStore
from tests.serve.api.live import Live, Peer

Start = Callable[..., Live]
SOON_S = 0.3
GET = b"GET /healthz HTTP/1.1\r\nHost: api\r\n\r\n"
POST = b"POST /v1/images HTTP/1.1\r\nHost: api\r\nContent-Type: application/json\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
DOCUMENT = b"GET /openapi.json HTTP/1.1\r\nHost: api\r\n\r\n"
"""Fifty kilobytes come back."""


def bounds(**changes: Any) -> Bounds:
    return replace(BOUNDS, **changes)


def problem(peer: Peer, status: int) -> dict[str, Any]:
    """The problem that comes next."""
    answer, body = peer.answer()
    assert answer.status == status, body
    assert answer.headers["Content-Type"] == "application/problem+json"
    found: dict[str, Any] = json.loads(body)
    assert found["status"] == status
    assert found["request_id"] == answer.headers["X-Request-ID"]
    return found


# Too slow.


def test_a_head_that_trickles_in_is_timed_out(live: Start) -> None:
    with live(bounds=bounds(head_s=SOON_S)).connect() as peer:
        peer.trickle(GET[:-2] + b"X-A: b\r\n" * 10_000, every_s=SOON_S / 10)
        assert "within 0.3 s" in problem(peer, 408)["detail"]
        assert peer.ends()


def test_who_says_nothing_is_hung_up_on(live: Start) -> None:
    with live(bounds=bounds(head_s=SOON_S)).connect() as peer:
        assert peer.ends()


def test_who_asks_nothing_more_is_hung_up_on(live: Start) -> None:
    with live(bounds=bounds(idle_s=SOON_S)).connect() as peer:
        assert peer.send(GET).answer()[0].status == 200
        assert peer.ends()


def test_a_second_head_may_take_no_longer_than_the_first(live: Start) -> None:
    with live(bounds=bounds(head_s=SOON_S)).connect() as peer:
        peer.send(GET + GET[:20]).answer()
        peer.trickle(GET[20:-2] + b"X-A: b\r\n" * 10_000, every_s=SOON_S / 10)
        problem(peer, 408)
        assert peer.ends()


@pytest.mark.parametrize("head", [CHUNKED, POST + b"Content-Length: 100000\r\n\r\n"], ids=["chunked", "declared"])
def test_a_body_that_trickles_in_is_timed_out(live: Start, store: JobStore, head: bytes) -> None:
    with live(body_s=SOON_S, bounds=bounds(linger_s=SOON_S)).connect() as peer:
        peer.send(head).trickle(b"1\r\n \r\n" * 10_000, every_s=SOON_S / 10)
        assert "within 0.3 s" in problem(peer, 408)["detail"]
        peer.trickle(b" " * 200, every_s=SOON_S / 10)
        assert peer.ends()
    assert store.counts()["queued"] == 0


def test_the_wait_for_an_answer_is_not_a_slow_request(live: Start, store: JobStore) -> None:
    """Bounds are for what the client owes, not for what we do."""
    body = b'{"prompt": "a gear"}'
    short = bounds(head_s=SOON_S, idle_s=SOON_S, stalled_s=SOON_S)
    with live(bounds=short, body_s=SOON_S, job_timeout=2 * SOON_S).connect() as peer:
        peer.send(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert "goes on" in problem(peer, 504)["detail"]


def test_who_takes_no_answer_loses_the_connection(live: Start) -> None:
    with live(bounds=bounds(stalled_s=SOON_S)).connect(receive_buffer=4096) as peer:
        peer.socket.settimeout(SOON_S)
        with pytest.raises(TimeoutError):  # both directions are full
            peer.socket.sendall(DOCUMENT * 100_000)
        assert peer.reset()


def test_what_comes_after_an_early_answer_is_not_read_for_ever(live: Start) -> None:
    """The answer to a GET does not wait for the body that it says it has."""
    with live(bounds=bounds(linger_s=SOON_S)).connect() as peer:
        peer.send(GET[:-2] + b"Content-Length: 1000000\r\n\r\n")
        assert peer.answer()[0].status == 200
        peer.trickle(b" " * 200, every_s=SOON_S / 10)  # which would keep a connection alive, a byte at a time
        assert peer.ends()


def test_a_body_that_is_too_large_is_refused_in_a_way_that_its_sender_sees(live: Start) -> None:
    """Were the connection closed with bytes unread, a reset would overtake the answer."""
    with live(max_body=1000).connect() as peer:
        peer.send(POST + b"Content-Length: 10000000\r\n\r\n" + b" " * 10_000_000)
        assert "1000 bytes" in problem(peer, 413)["detail"]
        assert peer.ends()


def test_a_body_without_end_is_refused_while_it_comes(live: Start, store: JobStore) -> None:
    with live(max_body=1000, bounds=bounds(linger_s=SOON_S)).connect() as peer:
        peer.send(CHUNKED)
        while not select.select([peer.socket], [], [], 0)[0]:
            peer.send(b"64\r\n" + b" " * 100 + b"\r\n")
        problem(peer, 413)
        assert peer.ends()
    assert store.counts()["queued"] == 0


# Too many.


def test_among_too_many_the_one_that_waited_longest_makes_room(live: Start) -> None:
    here = live(bounds=bounds(most=2))
    with here.connect() as silent, here.connect() as trickling:
        trickling.send(GET[:10])
        with here.connect() as honest:
            assert honest.send(GET).answer()[0].status == 200
            assert silent.ends()
        assert trickling.send(GET[10:]).answer()[0].status == 200


def test_requests_that_are_being_answered_make_no_room(live: Start, store: JobStore) -> None:
    here = live(bounds=bounds(most=1), job_timeout=5.0, worker=False)
    with here.connect() as waiting:
        body = b'{"prompt": "a gear"}'
        waiting.send(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        while store.counts()["queued"] == 0:
            pass
        with here.connect() as late:
            assert problem(late, 503)["type"] == "/problems/overloaded"
            assert late.ends()
        (job,) = store.page("demo", (), None, 10).jobs
        store.request_cancel(job.id, "demo")
        problem(waiting, 409)


# No HTTP, or two kinds of it at once.

NO_HTTP = {
    "nothing of the kind": (b"hello\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(32)) + b"\r\n\r\n", 400),
    "no version": (b"GET /healthz\r\n\r\n", 400),
    "no host": (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "nul in a value": (GET[:-2] + b"X-A: a\0b\r\n\r\n", 400),
    "a return in a value": (GET[:-2] + b"X-A: a\rX-B: c\r\n\r\n", 400),
    "space before the colon": (GET[:-2] + b"X-A : b\r\n\r\n", 400),
    "space in a name": (GET[:-2] + b"X A: b\r\n\r\n", 400),
    "no name": (GET[:-2] + b": b\r\n\r\n", 400),
    "a target that is none": (b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "two lengths": (POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
    "a length with a sign": (POST + b"Content-Length: +2\r\n\r\n{}", 400),
    "a negative length": (POST + b"Content-Length: -2\r\n\r\n{}", 400),
    "a length in hexadecimal": (POST + b"Content-Length: 0x2\r\n\r\n{}", 400),
    "a length without end": (POST + b"Content-Length: " + b"9" * 100 + b"\r\n\r\n{}", 400),
    "a length of petabytes": (POST + b"Content-Length: " + b"9" * 15 + b"\r\n\r\n{}", 413),
    "a length and chunks": (CHUNKED[:-2] + b"Content-Length: 2\r\n\r\n0\r\n\r\n", 400),
    "chunks that are not": (CHUNKED + b"zz\r\n", 400),
    "a chunk of a negative size": (CHUNKED + b"-1\r\n", 400),
    "a chunk longer than it says": (CHUNKED + b"1\r\n{}\r\n", 400),
    "chunks in disguise": (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
    "chunks twice": (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501),
    "compressed": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
}


@pytest.mark.parametrize("case", NO_HTTP)
def test_what_is_no_http_is_refused_and_nothing_after_it_read(still: Live, case: str) -> None:
    sent, status = NO_HTTP[case]
    with still.connect() as peer:
        problem(peer.send(sent + GET), status)
        assert peer.ends()


@pytest.mark.parametrize(
    "head",
    [b"GET /" + b"a" * 70_000, GET[:-2] + b"X-A: " + b"b" * 70_000, GET[:-2] + b"X-A: b\r\n" * 9_000],
    ids=["line", "header", "headers"],
)
def test_a_head_without_end_is_refused(still: Live, head: bytes) -> None:
    with still.connect() as peer:
        assert "32768 bytes" in problem(peer.send(head), 431)["detail"]
        assert peer.ends()


def test_no_request_is_slipped_past_whoever_looked_first(still: Live) -> None:
    """A proxy that goes by the length forwards this as one request, whose body is another."""
    hidden = b"0\r\n\r\n" + DOCUMENT
    with still.connect() as peer:
        peer.send(CHUNKED[:-2] + b"Content-Length: %d\r\n\r\n" % len(hidden) + hidden)
        assert "not both" in problem(peer, 400)["detail"]
        assert peer.ends()


def test_no_upgrade_leads_out_of_these_bounds(still: Live) -> None:
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: YQ==\r\n"
    with still.connect() as peer:
        assert peer.send(GET[:-2] + upgrade + b"\r\n").answer()[0].status == 200


@pytest.mark.parametrize(
    "header",
    ["X-Request-Disconnect-Disabled: 1", "X-Request-Timeout-Seconds: 0.001", "Serve-Multiplexed-Model-Id: other"],
)
def test_what_ray_serve_would_obey_means_nothing_here(live: Start, header: str) -> None:
    """It is not Ray that answers, and nothing of a request's head is handed on to it."""
    body = b'{"prompt": "a gear"}'
    with live(worker=True).connect() as peer:
        peer.send(POST + b"%s\r\nContent-Length: %d\r\n\r\n" % (header.encode(), len(body)) + body)
        assert peer.answer()[0].status == 200


# Paths and methods.


@pytest.mark.parametrize(
    "target",
    [
        b"/v1/jobs/../../healthz",
        b"/v1/jobs/%2e%2e/%2e%2e/healthz",
        b"/v1/jobs/..%2f..%2fhealthz",
        b"//v1/models",
        b"/v1//models",
        b"/v1/models/",
        b"/v1/models;a=b",
        b"/v1/models%00",
        b"/v1/models%20",
        b"/V1/MODELS",
        b"/v1/jobs/job_0%0d%0aX-A:%20b",
        b"/v1/jobs/%ff%fe",
        b"/problems/..%2f..%2fetc%2fpasswd",
        b"/docs/../../etc/passwd",
        b"http://169.254.169.254/latest/meta-data",
        b"*",
        b"healthz",
        b"\\..\\healthz",
        b"/" + b"a/" * 10_000,
        b"/" + b"%2e%2e/" * 1000,
    ],
)
def test_a_path_means_what_it_says_or_nothing(still: Live, target: bytes) -> None:
    with still.connect() as peer:
        problem(peer.send(b"GET " + target + b" HTTP/1.1\r\nHost: api\r\n\r\n"), 404)


@pytest.mark.parametrize("method", ["HEAD", "PUT", "PATCH", "OPTIONS", "TRACE", "BREW", "get", "A" * 1000])
def test_other_methods_are_refused(still: Live, method: str) -> None:
    with still.connect() as peer:
        peer.send(method.encode() + b" /v1/models HTTP/1.1\r\nHost: api\r\n\r\n")
        answer, _ = peer.answer(method)
        assert (answer.status, answer.headers["Allow"]) == (405, "GET")


def test_no_tunnel_is_opened(still: Live) -> None:
    with still.connect() as peer:
        problem(peer.send(b"CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: a\r\n\r\n"), 404)


def test_nothing_that_a_client_typed_becomes_a_header(still: Live) -> None:
    with still.connect() as peer:
        peer.send(GET[:-2] + b"X-Request-ID: a b\xe4\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n")
        answer, _ = peer.answer()
        assert answer.headers["X-Request-ID"].isalnum()
        assert set(map(str.lower, answer.headers)) == {
            *("content-length", "content-type", "date", "x-request-id", "x-content-type-options")
        }


# What is untaken, without sockets.


class Transport(asyncio.Transport):
    """Holds as many bytes as one says."""

    def __init__(self) -> None:
        super().__init__({"peername": ("10.0.0.1", 1), "sockname": ("10.0.0.2", 80)})
        self.untaken = 0
        self.aborted = False

    def get_write_buffer_size(self) -> int:
        return self.untaken

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


class Looks:
    """A loop whose next look at what is untaken comes when one says."""

    def call_later(self, seconds: float, call: Callable[[], None]) -> Looks:
        if seconds == BOUNDS.stalled_s:
            self.next = call
        return self

    def cancel(self) -> None:
        """A timer, too."""


async def never(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError


@pytest.fixture
def taken() -> Callable[..., bool]:
    """Whether a client is kept that has so many bytes before it at each look."""
    loop, transport = Looks(), Transport()
    config = uvicorn.Config(never, lifespan="off", log_config=None)
    config.load()
    connection = Connection(config, ServerState(), {}, loop)  # type: ignore[arg-type]
    connection.connection_made(transport)

    def at(*untaken: int | None) -> bool:
        for count in untaken:
            if count is None:
                connection.on_response_complete()
                continue
            transport.untaken = count
            loop.next()
        return not transport.aborted

    return at


LEAST = round(BOUNDS.slowest * BOUNDS.stalled_s)


def test_who_takes_as_little_as_may_be_is_kept(taken: Callable[..., bool]) -> None:
    assert taken(*range(10 * LEAST, 0, -LEAST))


def test_who_takes_less_is_given_up(taken: Callable[..., bool]) -> None:
    assert not taken(10 * LEAST, 9 * LEAST + 1)


def test_who_falls_behind_is_given_up(taken: Callable[..., bool]) -> None:
    assert not taken(LEAST, 2 * LEAST)


def test_who_has_taken_all_may_wait(taken: Callable[..., bool]) -> None:
    assert taken(LEAST, 0, 0, LEAST)


def test_another_answer_is_another_count(taken: Callable[..., bool]) -> None:
    assert taken(LEAST, None, 9 * LEAST)
