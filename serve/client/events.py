"""A job's events, and the stream they come by, which is taken up again where it broke."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping

import httpx
from pydantic import ValidationError

from serve.client.job import ControlMap, Job, Said
from serve.client.problems import StreamBroken, UnexpectedAnswer, Unreachable, from_answer, unexpected
from serve.client.retries import Outcome, Retries
from serve.client.sse import Message, Parser

MEDIA_TYPE = "text/event-stream"

LIVED_S = 10.0
"""A connection that held as long as this, or brought an event, was no failure."""


class Queued(Said):
    """It waits, for the first time or again; `position` jobs are before it."""

    position: int | None = None
    attempt: int


class Started(Said):
    """It runs."""

    attempt: int


class Annotated(Said):
    """Its control maps are stored."""

    control_maps: tuple[ControlMap, ...]


class Progressed(Said):
    """Steps done, image by image, of `of`. Those that came while nobody listened are not sent again."""

    steps: tuple[int, ...]
    of: int
    preview: str | None = None

    @property
    def picture(self) -> bytes | None:
        """The preview as a PNG or JPEG file, if there is one."""
        try:
            return base64.b64decode(self.preview.partition(",")[2], validate=True) if self.preview else None
        except binascii.Error:
            return None


class ImageDone(Said):
    """Image `index` is made."""

    index: int
    seed: int
    url: str


class Ended(Said):
    """The last event: nothing will change any more. `job.state` says how, perhaps in a word of a newer API."""

    job: Job


Event = Queued | Started | Annotated | Progressed | ImageDone | Ended

_KINDS: Mapping[str, type[Event]] = {
    "queued": Queued,
    "started": Started,
    "annotated": Annotated,
    "progress": Progressed,
    "image": ImageDone,
    "succeeded": Ended,
    "failed": Ended,
    "cancelled": Ended,
}


def read(message: Message) -> Event | None:
    """The event in a message; none where a newer API has kinds that are unknown here.

    One of them may be an end: it is, if it brings a job that has ended, as every last event does.

    Raises:
        UnexpectedAnswer: It is not what its kind has.
    """
    kind = _KINDS.get(message.event)
    if kind is None:
        try:
            ended = Ended.model_validate_json(message.data)
        except ValidationError:
            return None
        return ended if ended.job.terminal else None
    try:
        return kind.model_validate_json(message.data)
    except ValidationError as error:
        raise UnexpectedAnswer(f"an event {message.event!r} can't be understood: {error}") from error


class Feed:
    """The events of one job over as many connections as they need.

    It does no I/O. Whoever does connects with `headers`, tells what answered by `opened`, pushes what comes, and asks
    `pause_s` when it stops, until `ended`.

    Args:
        retries: How many connections in a row may bring nothing.
        clock: Seconds that only grow.
        luck: Uniform in [0, 1).
        after: Id of the last event that is known already.

    Attributes:
        ended: The last event came.
    """

    def __init__(
        self, retries: Retries, clock: Callable[[], float], luck: Callable[[], float], after: str = ""
    ) -> None:
        self._retries = retries
        self._clock = clock
        self._luck = luck
        self._parser = Parser(after)
        self._began = clock()
        self._open = False
        self._failures = 0
        self.ended = False

    def headers(self) -> Mapping[str, str]:
        """Of the next connection, which begins with this."""
        self._parser = Parser(self._parser.last_id, self._parser.retry_ms)
        self._began, self._open = self._clock(), False
        headers = {"Accept": MEDIA_TYPE, "Cache-Control": "no-store"}
        return headers | {"Last-Event-ID": self._parser.last_id} if self._parser.last_id else headers

    def opened(self, answer: httpx.Response) -> bool:
        """Whether the answer has events to push. 204 has none and is the end: the last was known.

        Raises:
            UnexpectedAnswer: Something else answers.
        """
        self.ended = answer.status_code == 204
        if answer.is_success and not self.ended and answer.headers.get("Content-Type", "").split(";")[0] != MEDIA_TYPE:
            raise unexpected(answer)
        self._open = answer.is_success and not self.ended
        return self._open

    def push(self, chunk: bytes) -> Iterator[Event]:
        """The events that these bytes complete; none after the last.

        Raises:
            UnexpectedAnswer: An event can't be understood.
        """
        for message in self._parser.push(chunk):
            event = read(message)
            if event is not None and not self.ended:
                self._failures = 0
                self.ended = isinstance(event, Ended)
                yield event

    def pause_s(self, outcome: Outcome) -> float:
        """Seconds until the next connection.

        Args:
            outcome: What this one ended with: its answer, of which nothing more comes, or an error.

        Raises:
            StreamBroken: Too many in a row brought nothing.
            Unreachable: Likewise, and this one was not even answered.
            ServeError: There is no such job, or no listening to it now.
        """
        refused = isinstance(outcome, httpx.Response) and not outcome.is_success
        lost = outcome if refused or isinstance(outcome, Exception) else httpx.ReadError("it ended before the job did")
        self._failures = 1 if self._clock() - self._began >= LIVED_S else self._failures + 1
        pause_s = self._retries.pause_s(lost, self._failures, self._luck, repeatable=True)
        if pause_s is not None:
            return max(pause_s, (self._parser.retry_ms or 0) / 1000)
        if isinstance(lost, httpx.Response):
            raise from_answer(lost)
        kind = StreamBroken if self._open else Unreachable
        raise kind(f"the events of the job broke off: {lost}") from lost
