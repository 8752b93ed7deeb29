"""Who is told: every accepted image's listener, from the first event to exactly one last."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVarTuple

from serve.engine.core import Image, Listener

log = logging.getLogger(__name__)
Ts = TypeVarTuple("Ts")


@dataclass(frozen=True, slots=True, eq=False)
class Ticket:
    """An accepted image and who hears of it. Told apart by identity: a cancelled image's id may come back."""

    image: Image
    listener: Listener


class Tickets:
    """The images that have not ended, and how many have. Its owner's lock guards it.

    Telling a ticket that has ended does nothing, so each method may be called without knowing.
    """

    def __init__(self) -> None:
        self.finished = self.failed = self.cancelled = 0
        self._open: dict[str, Ticket] = {}

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[Ticket]:
        return iter(tuple(self._open.values()))

    def __contains__(self, image_id: str) -> bool:
        return image_id in self._open

    def __getitem__(self, image_id: str) -> Ticket:
        return self._open[image_id]

    def holds(self, ticket: Ticket) -> bool:
        """Whether the ticket's listener has yet to be told an end."""
        return self._open.get(ticket.image.id) is ticket

    def add(self, image: Image, listener: Listener) -> None:
        """Open a ticket."""
        self._open[image.id] = Ticket(image, listener)

    def start(self, ticket: Ticket) -> None:
        """The image has joined a batch."""
        if self.holds(ticket):
            _tell(ticket.listener.started, ticket.image)

    def step(self, ticket: Ticket, done: int) -> None:
        """The image has had `done` steps."""
        if self.holds(ticket):
            _tell(ticket.listener.stepped, ticket.image, done, ticket.image.steps)

    def finish(self, ticket: Ticket, result: object) -> None:
        """The image ends with a result."""
        if self._close(ticket):
            self.finished += 1
            _tell(ticket.listener.finished, ticket.image, result)

    def fail(self, ticket: Ticket, error: Exception) -> None:
        """The image ends with an error."""
        if self._close(ticket):
            self.failed += 1
            _tell(ticket.listener.failed, ticket.image, error)

    def cancel(self, ticket: Ticket) -> None:
        """The image ends because somebody wished so."""
        if self._close(ticket):
            self.cancelled += 1
            _tell(ticket.listener.cancelled, ticket.image)

    def _close(self, ticket: Ticket) -> bool:
        held = self.holds(ticket)
        if held:
            del self._open[ticket.image.id]
        return held


def _tell(event: Callable[[Image, *Ts], object], image: Image, *about: *Ts) -> None:
    try:
        event(image, *about)
    except Exception:
        log.exception("the listener of image %s raised in %s", image.id, getattr(event, "__name__", event))
