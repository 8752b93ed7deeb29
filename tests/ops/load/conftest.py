"""A platform of a hundred lines, and short ways to make requests and outcomes."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ops.load.plan import Outcome, Plan
from ops.load.teams import write_keys
from ops.load.trace import Request, Shape

PIXEL = b"\x89PNG\r\n\x1a\n and no more"
SHAPE = Shape("none", 1, 10, 64)


def request(number: int = 0, at: float = 0.0, **changes: Any) -> Request:
    fields = {"tenant": "press", "caller": "sync", "shape": SHAPE, "picture": 0, "prompt": "a gear", "seed": 1}
    return Request(number, at, **fields | changes)  # type: ignore[arg-type]


def outcome(number: int = 0, sent: float = 0.0, ended: float = 1.0, **changes: Any) -> Outcome:
    return Outcome(number, sent, ended, **{"end": "done"} | changes)


@dataclass
class FakeApi:
    """Answers as the platform does, and remembers what it was asked.

    Attributes:
        takes_s: Of each request for images.
        meanwhile: Done before each of these is answered.
        answers: By method and path: what is answered first, one after the other, instead.
        cut: A stream of events is cut off after its second event, unless it was resumed.
    """

    takes_s: float = 0.0
    meanwhile: Callable[[], object] = lambda: None
    answers: dict[tuple[str, str], list[tuple[int, str]]] = field(default_factory=dict)
    cut: bool = False
    seen: list[tuple[float, str, str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)
    url: str = ""

    def calls(self, method: str, path: str) -> list[tuple[float, dict[str, str], dict[str, Any]]]:
        """When, headers and body, in the order of coming."""
        return [(at, headers, body) for at, m, p, headers, body in self.seen if (m, p) == (method, path)]


def _handler(api: FakeApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
            headers = {name.lower(): value for name, value in self.headers.items()}
            api.seen.append((time.monotonic(), self.command, self.path, headers, body))
            waiting = api.answers.get((self.command, self.path))
            if waiting:
                status, kind = waiting.pop(0)
                self.reply(status, {"type": f"/problems/{kind}"})
            elif self.path == "/v1/images":
                api.meanwhile()
                time.sleep(api.takes_s)
                picture = {"b64": base64.b64encode(PIXEL).decode()}
                self.reply(200, {"job": f"job_{len(api.seen)}", "images": [picture] * body["n"]})
            elif self.path == "/v1/controls/canny":
                self.reply(200, {"job": "job_map", "id": "map_1"})
            elif self.command == "POST":
                job = f"job_{len(api.seen)}"
                api.states[job] = "running"
                self.reply(202, {"id": job})
            elif self.command == "DELETE":
                api.states[self.path.split("/")[3]] = "cancelled"
                self.reply(202, {})
            elif self.path.endswith("/events"):
                self.events(self.path.split("/")[3], headers.get("last-event-id"))
            elif "/images/" in self.path:
                self.reply(200, PIXEL)
            else:
                job = self.path.split("/")[3]
                if api.states[job] == "running" and not api.takes_s:
                    api.states[job] = "succeeded"
                self.reply(200, {"id": job, "state": api.states[job]})

        def do_GET(self) -> None:
            self.handle_any()

        def do_POST(self) -> None:
            self.handle_any()

        def do_DELETE(self) -> None:
            self.handle_any()

        def reply(self, status: int, body: Any) -> None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def events(self, job: str, last: str | None) -> None:
            kinds = ["queued", "started", "image", "succeeded"]
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for number, kind in enumerate(kinds, start=1):
                if number <= int(last or 0):
                    continue
                if api.cut and last is None and number > 2:
                    self.close_connection = True
                    return
                data = {"job": {"id": job, "state": "succeeded"} if kind == "succeeded" else job}
                text = f"id: {number}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode()
                self.wfile.write(b"%x\r\n%s\r\n" % (len(text), text))
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    return Handler


@pytest.fixture
def api() -> Iterator[FakeApi]:
    found = FakeApi()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(found))
    server.daemon_threads = True
    found.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def plan(api: FakeApi, tmp_path: Path) -> Callable[..., Plan]:
    """Plans for the fake platform."""
    write_keys(tmp_path / "keys.json", {"press": "cn_a_b"})
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "0.jpg").write_bytes(b"a photograph")

    def make(*requests: Request, **changes: Any) -> Plan:
        fields = {"drain_s": 20.0, "poll_s": 0.02} | changes
        return Plan("test", api.url, tmp_path / "keys.json", tmp_path / "pictures", requests, **fields)

    return make
