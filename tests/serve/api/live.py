"""The api on a real socket, as `python -m serve.api` runs it, and a client that knows no manners."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import select
import socket
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self

from fastapi import FastAPI

from serve.api.__main__ import server
from serve.api.connections import BOUNDS, Bounds

PATIENCE_S = 10.0
"""What no answer takes; a test that waits so long has failed."""


class Peer:
    """One connection, and whatever bytes one likes to send on it."""

    def __init__(self, address: tuple[str, int], receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(PATIENCE_S)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.connect(address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.socket.close()

    def send(self, data: bytes) -> Self:
        """All of it, or as much as the other side takes."""
        with contextlib.suppress(ConnectionError):
            self.socket.sendall(data)
        return self

    def trickle(self, data: bytes, every_s: float) -> None:
        """A byte at a time, until there is an answer."""
        for i in range(len(data)):
            if select.select([self.socket], [], [], every_s)[0]:
                return
            self.send(data[i : i + 1])
        raise AssertionError("nobody minded")

    def answer(self, method: str = "GET") -> tuple[http.client.HTTPResponse, bytes]:
        """The next answer and its body."""
        with contextlib.closing(http.client.HTTPResponse(self.socket, method=method)) as found:
            found.begin()
            return found, found.read()

    def ends(self) -> bool:
        """Whether nothing more comes. Waits for it."""
        with contextlib.suppress(ConnectionError):
            return self.socket.recv(1) == b""
        return True

    def reset(self) -> bool:
        """Whether the other side breaks the connection off. Waits for it, and takes nothing meanwhile."""
        poll = select.poll()
        poll.register(self.socket, 0)
        return bool(poll.poll(PATIENCE_S * 1000))


class Live:
    """A server in a thread of its own, with a loop as in production.

    Args:
        app: As `create_app` makes it.
        bounds: Of its connections.
        beside: Runs in the same loop while it serves.
    """

    def __init__(
        self,
        app: FastAPI,
        bounds: Bounds = BOUNDS,
        beside: Callable[[], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        self._server = server(app, "127.0.0.1", 0, bounds)
        self._beside = beside
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.should_exit = True
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.address[1]}"

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._server.server_state.connections)

    def connect(self, receive_buffer: int | None = None) -> Peer:
        return Peer(self.address, receive_buffer)

    def _run(self) -> None:
        async def main() -> None:
            task = None if self._beside is None else asyncio.ensure_future(self._beside())
            await self._server.serve([self._listener])
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

        with asyncio.Runner(loop_factory=self._server.config.get_loop_factory()) as runner:
            runner.run(main())
