"""Server-sent events, as the WHATWG HTML standard parses them (section 9.2, "Interpreting an event stream")."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Message:
    """One event: its type (`message` where it has none) and its data."""

    event: str
    data: str


class Parser:
    """Bytes in, events out, however the bytes are cut.

    An event whose blank line did not come is not one: a new connection begins with a new parser, given both attributes.

    Attributes:
        last_id: Of the last event; kept by events without one.
        retry_ms: How long the server wants a client to wait before it connects again, if it said so.
    """

    def __init__(self, last_id: str = "", retry_ms: int | None = None) -> None:
        self.last_id = last_id
        self.retry_ms = retry_ms
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._line = ""
        self._skip_feed = False  # the last character was a CR: an LF after it ends no second line
        self._id = last_id
        self._event = ""
        self._data: list[str] = []

    def push(self, chunk: bytes) -> Iterator[Message]:
        """The events that these bytes complete."""
        for line in self._lines(self._decoder.decode(chunk)):
            if line:
                self._field(line)
            elif (message := self._dispatch()) is not None:
                yield message

    def _lines(self, text: str) -> Iterator[str]:
        if self._skip_feed and text:
            text, self._skip_feed = text.removeprefix("\n"), False
        self._skip_feed = self._skip_feed or text.endswith("\r")
        # Not splitlines(): that cuts at characters which are data here.
        *lines, self._line = (self._line + text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
        yield from lines

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "event":
                self._event = value
            case "data":
                self._data.append(value)
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if value.isascii() and value.isdigit():
                self.retry_ms = int(value)

    def _dispatch(self) -> Message | None:
        self.last_id = self._id
        event, data = self._event or "message", self._data
        self._event, self._data = "", []
        return Message(event, "\n".join(data)) if data else None
