"""Connections bounded in time and number: who sends or takes too slowly loses theirs, and nobody else's.

uvicorn limits neither how long a request's head may take, nor how long an answer may lie untaken, nor how many
connections wait: each of the three alone stops a server from afar. The length of a head is limited by its reader in
Python (h11), not by the one in C (httptools), so it is the former that serves here; it is also the stricter of the two.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import sys
import time
from dataclasses import dataclass
from typing import Any

import h11
from starlette.exceptions import HTTPException
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from serve.api import problems
from serve.errors import Overloaded, ServeError

log = logging.getLogger("serve.api")


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one connection, and all of them, may take. A body's own are those of `uploads.BodyLimit`.

    Attributes:
        head_bytes: Of a request line and its headers.
        head_s: Seconds from the connection, or the answer before, to the end of a head.
        idle_s: Seconds between an answer and the next request's first byte.
        linger_s: Seconds in which what is still sent is read and dropped after an early answer. Closing at once would
            reset the connection, and the client might never see why.
        stalled_s: Seconds after which an answer that lies untaken is given up ...
        slowest: ... unless so many bytes a second were taken. Looked at once every `stalled_s`.
        most: Connections at once: fewer than the 1024 files a process may commonly have open, and more than the
            requests that are answered at once (`observe.Observe`), so that there is always one to give up.
    """

    head_bytes: int = 32 << 10
    head_s: float = 10.0
    idle_s: float = 5.0
    linger_s: float = 2.0
    stalled_s: float = 30.0
    slowest: int = 1024
    most: int = 900


BOUNDS = Bounds()


class Connection(H11Protocol):
    """One client's connection.

    Where there are too many, the one that has waited longest without a request makes room: among headers that
    trickle in, an honest client's is always the younger.

    Args:
        config: Of uvicorn, which makes these.
        server_state: Likewise; knows all connections.
        app_state: Likewise.
        bounds: The limits.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        bounds: Bounds = BOUNDS,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.timeout_keep_alive = bounds.idle_s  # type: ignore[assignment]
        self._bounds = bounds
        self._since = 0.0
        self._untaken = 0
        self._lingers = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._linger_timer: asyncio.TimerHandle | None = None
        self._taken_timer: asyncio.TimerHandle | None = None

    @property
    def _waits(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to measure."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self._since = time.monotonic()  # the loop's own clock stands still while it accepts several
        self._taken_timer = self.loop.call_later(self._bounds.stalled_s, self._check_taken)
        if len(self.connections) > self._bounds.most:
            self._make_room()
        self._time_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop measuring."""
        for timer in (self._head_timer, self._linger_timer, self._taken_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # uvicorn leaves it to fire where the connection broke

    def data_received(self, data: bytes) -> None:
        """Read on, unless all has been said."""
        if not self._lingers:
            super().data_received(data)
            self._time_head()

    def on_response_complete(self) -> None:
        """Wait for the next request, or close where this one's body was not waited for."""
        self._since = time.monotonic()
        self._untaken = 0  # another answer's bytes are not those that were counted
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY and not self.transport.is_closing():
            self._unset_keepalive_if_required()
            self._linger()
        self._time_head()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is answered as every error is; the parser's own error says with which status."""
        status = getattr(sys.exception(), "error_status_hint", 400)
        detail = (
            f"The request line and headers have more than {self._bounds.head_bytes} bytes." if status == 431 else msg
        )
        self._refuse(HTTPException(status, detail))

    def _time_head(self) -> None:
        """Have a timer run while a head is waited for, and only then."""
        waited_for = self.conn.their_state is h11.IDLE and not self._lingers and not self.transport.is_closing()
        if waited_for and self._head_timer is None:
            self._head_timer = self.loop.call_later(self._bounds.head_s, self._late)
        elif not waited_for and self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _late(self) -> None:
        self._head_timer = None
        if not self._waits or self.transport.is_closing():
            return
        if self.conn.trailing_data[0]:
            detail = f"The request line and headers did not arrive within {self._bounds.head_s:g} s."
            self._refuse(HTTPException(408, detail))
        else:
            self.transport.close()

    def _check_taken(self) -> None:
        """Give up a client that takes nothing: what was made for it must not lie in memory for ever."""
        untaken = self.transport.get_write_buffer_size()
        if self._untaken and untaken > self._untaken - self._bounds.slowest * self._bounds.stalled_s:
            log.info("connection given up", extra={"reason": "its answer was not taken"})
            self.transport.abort()
            return
        self._untaken = untaken
        self._taken_timer = self.loop.call_later(self._bounds.stalled_s, self._check_taken)

    def _make_room(self) -> None:
        others = [other for other in self.connections if isinstance(other, Connection) and other is not self]
        waiting = [other for other in others if other._waits]
        if not waiting:
            self._refuse(Overloaded("There are too many connections.", retry_after_s=1))
            return
        oldest = min(waiting, key=lambda other: other._since)
        self.connections.discard(oldest)  # it is told only after this call, and there may be another before
        oldest.transport.abort()

    def _refuse(self, error: ServeError | HTTPException) -> None:
        """Answer without the application, and close."""
        if self.cycle is not None:
            self.cycle.disconnected = True  # whatever was being answered must not go on
            self.cycle.message_event.set()
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.abort()
            return
        request_id = secrets.token_hex(12)
        problem = problems.response(error, request_id)
        log.info("request refused", extra={"request_id": request_id, "status": problem.status_code})
        headers = [*problem.raw_headers, (b"x-request-id", request_id.encode()), (b"connection", b"close")]
        for event in (
            h11.Response(status_code=problem.status_code, headers=headers),
            h11.Data(data=bytes(problem.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self._linger()

    def _linger(self) -> None:
        """Say that nothing more comes, and read what does until the client has seen it."""
        self._lingers = True
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._linger_timer = self.loop.call_later(self._bounds.linger_s, self.transport.close)
