"""Server-sent events (WHATWG HTML, section 9.2): how they are written, and connections that stay open for long."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from serve.errors import Overloaded, TooManyRequests

MEDIA_TYPE = "text/event-stream"
KEEP_ALIVE = b": keep-alive\n\n"
RETRY = b"retry: 1000\n\n"
"""Milliseconds that a browser waits before it connects again."""

STALLED_S = 30.0
"""How long a reader may take nothing, once all buffers on the way to it are full, before it is given up."""


def event(kind: str, data: Mapping[str, Any], event_id: int | None = None) -> bytes:
    """One event; only those with an id can be resumed after."""
    head = "" if event_id is None else f"id: {event_id}\n"
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))  # has no line break: JSON escapes them
    return f"{head}event: {kind}\ndata: {text}\n\n".encode()


class Streams:
    """The streams that are open, each team's counted by itself.

    Args:
        most: Of one team at once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: defaultdict[str, set[asyncio.Task[Any]]] = defaultdict(set)
        self.closed = False

    def count(self, tenant: str) -> int:
        """How many are open."""
        return len(self._open[tenant])

    @contextmanager
    def slot(self, tenant: str) -> Iterator[None]:
        """Count the running task as a stream of `tenant`.

        Raises:
            TooManyRequests: There are as many as may be.
            Overloaded: This process is about to end.
        """
        task = asyncio.current_task()
        assert task is not None
        if self.closed:
            raise Overloaded("The api is stopping; try again.", retry_after_s=1)
        if self.count(tenant) >= self._most:
            raise TooManyRequests(
                f"Your team has {self._most} event streams open, the most that it may have at once.", retry_after_s=5
            )
        self._open[tenant].add(task)
        try:
            yield
        finally:
            self._open[tenant].discard(task)

    def close(self) -> None:
        """End all streams, so that a stop need not wait for jobs; clients resume theirs elsewhere."""
        self.closed = True
        for tasks in self._open.values():
            for task in tasks:
                task.cancel()


class EventStream(StreamingResponse):
    """An answer of events that holds a slot of its team while it lasts.

    The server makes a slow reader wait at its own `send` and nobody else; one that stands still loses its connection.

    Args:
        content: Ready-made events.
        streams: Where it is counted.
        tenant: Whose it is.
        stalled_s: For one `send`.
    """

    media_type = MEDIA_TYPE

    def __init__(
        self, content: AsyncIterator[bytes], streams: Streams, tenant: str, stalled_s: float = STALLED_S
    ) -> None:
        # The second header keeps nginx from collecting events until a buffer is full.
        super().__init__(content, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._streams = streams
        self._tenant = tenant
        self._stalled_s = stalled_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until there are no more, the client leaves or stands still, or the streams are closed."""

        async def timely(message: Message) -> None:
            async with asyncio.timeout(self._stalled_s):
                await send(message)

        with self._streams.slot(self._tenant):
            try:
                await super().__call__(scope, receive, timely)
            except TimeoutError:
                raise ClientDisconnect from None
            except asyncio.CancelledError:
                if not self._streams.closed:
                    raise
                await timely({"type": "http.response.body", "body": b"", "more_body": False})
