"""A receiver of a team's webhooks that remembers what came."""

from __future__ import annotations

import json
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Literal, Self

from ops.faults.history import WebhookCall

Conduct = Literal["answer", "hang", "refuse", "late"]

LATE_S, HANG_S = 3.0, 15.0
"""Within and above the time for which the platform waits for an answer."""


class Receiver:
    """An HTTP server on loopback.

    Args:
        team: Whose webhooks come here.

    Attributes:
        calls: In the order of their coming.
        conduct: What it does with a call: take it, say nothing for longer than anybody waits, refuse it, or take it
            late.
    """

    def __init__(self, team: str) -> None:
        self.team = team
        self.calls: list[WebhookCall] = []
        self.conduct: Conduct = "answer"
        self._left = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                job, conduct = body["job"], receiver.conduct
                taken = conduct in ("answer", "late")
                receiver.calls.append(WebhookCall(team, self.headers["Webhook-Id"], job["id"], job["state"], taken))
                receiver._left.wait({"late": LATE_S, "hang": HANG_S}.get(conduct, 0.0))
                if conduct != "hang":
                    self.send_response(HTTPStatus.NO_CONTENT if taken else HTTPStatus.SERVICE_UNAVAILABLE)
                    self.end_headers()

            def log_message(self, format: str, *arguments: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="receiver", daemon=True)

    @property
    def url(self) -> str:
        """Where webhooks go."""
        return f"http://127.0.0.1:{self._server.server_port}/ended"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._left.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def told(self) -> set[str]:
        """Jobs whose end was told, and taken."""
        return {call.job for call in tuple(self.calls) if call.taken}

    @property
    def repeats(self) -> int:
        """Calls that came again under an id that had come; allowed."""
        return len(self.calls) - len({call.id for call in self.calls})
