"""The open-loop client against a server that does nothing but wait."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ops.bench.client import BROKEN, HUNG_UP, Request, Server, send


class Waiting(ThreadingHTTPServer):
    """Remembers bodies; answers those that are named `hang` when it is closed, others at once."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.over = threading.Event()
        self.bodies: list[dict[str, object]] = []
        self.both_are_here = threading.Barrier(2, timeout=30)


class Handler(BaseHTTPRequestHandler):
    server: Waiting

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        if body.get("what") == "hang":
            self.server.over.wait()
        if body.get("what") == "meet":
            self.server.both_are_here.wait()
        self.send_response(429 if body.get("what") == "refuse" else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Not to the terminal."""


@pytest.fixture
def waiting() -> Iterator[Waiting]:
    with Waiting() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


def server_of(waiting: Waiting, told: bool = False) -> Server:
    return Server("waiting", f"http://127.0.0.1:{waiting.server_port}", told=told)


def test_a_request_that_is_due_does_not_wait_for_the_one_before(waiting: Waiting) -> None:
    outcomes = send(server_of(waiting), [Request("a", {"what": "meet"}), Request("b", {"what": "meet"})])
    assert [(one.request.name, one.status) for one in outcomes] == [("a", 200), ("b", 200)]


def test_seconds_count_from_when_it_was_due(waiting: Waiting) -> None:
    """One that was due before the clock started is late by that, however fast its answer."""
    (outcome,) = send(server_of(waiting), [Request("late", {}, at=-50.0)])
    assert outcome.seconds > 49.0


def test_a_client_hangs_up_when_its_patience_is_over(waiting: Waiting) -> None:
    (outcome,) = send(server_of(waiting), [Request("a", {"what": "hang"}, patience=0.2)])
    assert outcome.status == HUNG_UP
    assert outcome.seconds >= 0.2


def test_only_who_can_refuse_is_told_of_a_limit(waiting: Waiting) -> None:
    urgent, calm = Request("a", {}, patience=9.0, late=False), Request("b", {}, patience=9.0)
    for told in (True, False):
        for request in (urgent, calm):
            send(server_of(waiting, told), [request])
    assert waiting.bodies == [{"deadline_s": 9.0}, {}, {}, {}]


def test_a_refusal_is_no_picture(waiting: Waiting) -> None:
    (outcome,) = send(server_of(waiting), [Request("a", {"what": "refuse"})])
    assert outcome.status == 429
    assert outcome.picture == "429 "


def test_where_nobody_listens_the_connection_is_broken() -> None:
    with Waiting() as server:
        url = f"http://127.0.0.1:{server.server_port}"
    (outcome,) = send(Server("nobody", url), [Request("a", {})])
    assert outcome.status == BROKEN
