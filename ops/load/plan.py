"""What the generator is told, and what it tells: JSON between two processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from ops.load.trace import Request

End = Literal["done", "refused", "dropped", "cancelled", "failed", "unfinished"]
"""How a request ended: with all its images; 429 before there was a job; accepted, and given up for its deadline;
cancelled because its caller asked; otherwise, and the reason says how; not at all while anybody waited."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One run of the generator.

    Attributes:
        name: In the Idempotency-Keys, so that two runs on one platform don't share them.
        url: Of the API.
        keys: File with a key for each team, JSON; read again when it is replaced.
        pictures: Folder with a JPEG for each number of a picture.
        requests: In the order of their arrival.
        window: None sends each request at its time. A number has so many under way, whatever their times: closed.
        seconds: How long a closed run sends; to its last request when absent.
        drain_s: How long answers are waited for after the last arrival; what is open then is cancelled.
        patience_s: How long a caller tries again where the platform is away or busy. 0 is never: that is an error.
        poll_s: Between two questions of a caller who asks again and again.
    """

    name: str
    url: str
    keys: Path
    pictures: Path
    requests: Sequence[Request]
    window: int | None = None
    seconds: float | None = None
    drain_s: float = 120.0
    patience_s: float = 0.0
    poll_s: float = 0.25


@dataclass(frozen=True, slots=True)
class Fault:
    """An answer that nobody should get: 5xx, or none.

    Attributes:
        at: Seconds from the start.
        call: Method and route.
        what: Status and type of problem; the error where there was no answer.
    """

    at: float
    call: str
    what: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request. Times are seconds from the start of the run.

    Attributes:
        sent: When its first byte could go: what is later than the request's `at` is the generator's own doing.
        ended: When its caller had all images, or knew that there would be none.
        reason: Status and type of problem, where it was not done.
        job: Its id, if the platform accepted it.
        made_map: It was to be steered by a map, and had to make that first.
        resumed: How often its events were taken up again after `Last-Event-ID`.
        disorder: Events that came twice or out of order.
        faults: On the way, whether it was tried again or not.
        refused_calls: 429 on the way that did not end it, by call: streams of events, above all.
    """

    number: int
    sent: float
    ended: float
    end: End
    reason: str = ""
    job: str | None = None
    made_map: bool = False
    resumed: int = 0
    disorder: int = 0
    faults: tuple[Fault, ...] = ()
    refused_calls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """One line of what the generator tells: one of these is there."""

    began: float | None = None  # monotonic clock of the machine
    outcome: Outcome | None = None


PLAN: TypeAdapter[Plan] = TypeAdapter(Plan)
LINE: TypeAdapter[Line] = TypeAdapter(Line)
KEYS: TypeAdapter[Mapping[str, str]] = TypeAdapter(Mapping[str, str])


def lines(file: Iterator[bytes]) -> Iterator[Line]:
    """What is told by whole lines of a file."""
    return (LINE.validate_json(line) for line in file if line.endswith(b"\n"))
