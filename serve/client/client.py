"""The client that blocks."""

from __future__ import annotations

import contextlib
import os
import random
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import TypeVar, Unpack

import httpx

from serve.client import calls
from serve.client.archive import unpack
from serve.client.bar import Watcher, watching
from serve.client.calls import Call, Control, Parameters, new_key, standing_headers
from serve.client.events import Ended, Event, Feed
from serve.client.job import Job, Map, State
from serve.client.pictures import Picture
from serve.client.problems import ResultWarning, StreamBroken
from serve.client.retries import Outcome, Retries

T = TypeVar("T")


class Client:
    """The API, blocking. Close it, or use it in a `with`.

    What was lost on the way is sent again, also a submission: its Idempotency-Key sees to it that it is one job.

    All methods raise `ServeError` where the API refuses, `Unreachable` where nobody answers after every attempt, and
    `UnexpectedAnswer` where something else answers.

    Args:
        url: Of the API: `http://127.0.0.1:8000`.
        key: API key; it is only sent over https, or to this machine.
        retries: When a call is made again.
        transport: In place of sockets.
        sleep: Waits so many seconds.
        clock: Seconds that only grow.
        luck: Uniform in [0, 1).
        new_key: Makes the keys of submissions that are given none.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        retries: Retries | None = None,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        luck: Callable[[], float] = random.random,
        new_key: Callable[[], str] = new_key,
    ) -> None:
        self._http = httpx.Client(base_url=url, headers=standing_headers(url, key), transport=transport)
        self._retries = retries or Retries()
        self._sleep = sleep
        self._clock = clock
        self._luck = luck
        self._new_key = new_key

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def submit(
        self,
        prompt: str,
        *,
        controls: Sequence[Control] = (),
        webhook: str | None = None,
        idempotency_key: str | None = None,
        **parameters: Unpack[Parameters],
    ) -> Job:
        """Have images made; the job outlives this program, and the platform's restarts.

        Args:
            prompt: What the images show.
            controls: What steers them.
            webhook: URL that is told when the job has ended.
            idempotency_key: The same key and request is the same job, also tomorrow; by default a new one.
            **parameters: See `Parameters`.
        """
        return self._send(calls.submit(prompt, controls, parameters, webhook, idempotency_key or self._new_key()))

    def job(self, job_id: str) -> Job:
        """Where a job stands."""
        return self._send(calls.job(job_id))

    def jobs(self, states: Collection[State | str] = (), limit: int | None = None) -> Iterator[Job]:
        """Jobs, the newest first, page by page as they are asked for.

        Args:
            states: Any of these; all where none is named.
            limit: The most there are.
        """
        left, cursor = calls.LARGEST_PAGE if limit is None else limit, None
        while left > 0:
            page = self._send(calls.jobs(states, left, cursor))
            yield from page.jobs[:left]
            cursor = page.next
            if cursor is None:
                return
            if limit is not None:
                left -= len(page.jobs)

    def cancel(self, job_id: str) -> Job:
        """Ask a job to stop: it does at once while it waits, within a step while it runs; one that ended stays so."""
        return self._send(calls.cancel(job_id))

    def events(self, job_id: str, after: str = "") -> Iterator[Event]:
        """A job's events as they happen, up to its end; those that are past come first.

        Args:
            job_id: Whose.
            after: Id of the last event that is known already.

        Raises:
            StreamBroken: They stopped before the job's end, and could not be taken up again.
        """
        feed = Feed(self._retries, self._clock, self._luck, after)
        while not feed.ended:
            outcome: Outcome
            try:
                request = calls.events(job_id, feed.headers()).request(self._http)
                outcome = self._http.send(request, stream=True)
                with contextlib.closing(outcome):
                    if feed.opened(outcome):
                        for chunk in outcome.iter_bytes():
                            yield from feed.push(chunk)
                            if feed.ended:
                                break
                    else:
                        outcome.read()
            except httpx.TransportError as error:
                outcome = error
            if not feed.ended:
                self._sleep(feed.pause_s(outcome))

    def wait(self, job_id: str, progress: bool | Watcher = False) -> Job:
        """The job when it has ended, however it did: `Job.failure` tells.

        Args:
            job_id: Which.
            progress: Show a bar in the terminal, or call this with each event.
        """
        with watching(progress) as tell:
            for event in self.events(job_id):
                tell(event)
                if isinstance(event, Ended):
                    return event.job
        job = self.job(job_id)  # nothing comes any more, and no end was told: of an end without a job, say
        if not job.terminal:
            raise StreamBroken("the events of the job ended before it did")
        return job

    def images(self, job: Job | str) -> list[bytes]:
        """The images of a job that succeeded, as PNG files."""
        found = self.job(job) if isinstance(job, str) else job
        return [self._send(calls.image(found.id, index)) for index in range(found.n)]

    def download(self, job_id: str, folder: str | os.PathLike[str]) -> list[Path]:
        """Write a job's images, control maps and `manifest.json` below `folder`, and tell the files."""
        return unpack(self._send(calls.archive(job_id)), folder)

    def annotate(
        self,
        type: str,
        picture: Picture,
        *,
        annotator: str | None = None,
        parameters: Mapping[str, float] | None = None,
        resolution: int | None = None,
        size: tuple[int, int] | None = None,
    ) -> Map:
        """Make a control map, which any number of jobs may then use.

        Args:
            type: Name of a control of the served bundle.
            picture: Whose structure it shows.
            annotator: Makes the map; the control's own where this is absent.
            parameters: Of the annotator; its defaults for those left out.
            resolution: Short side of the map in pixels.
            size: Width and height in pixels, instead.
        """
        key = self._new_key()
        return self._send(calls.annotate(type, picture, annotator, parameters or {}, resolution, size, key))

    def generate(
        self,
        prompt: str,
        *,
        controls: Sequence[Control] = (),
        idempotency_key: str | None = None,
        progress: bool | Watcher = False,
        **parameters: Unpack[Parameters],
    ) -> list[bytes]:
        """Submit, wait, and fetch the images: PNG files. What of the request had no effect is a `ResultWarning`.

        Raises:
            JobFailed: The job ended without them.
        """
        job = self.submit(prompt, controls=controls, idempotency_key=idempotency_key, **parameters)
        job = self.wait(job.id, progress)
        if job.failure is not None:
            raise job.failure
        for warned in job.warnings:
            warnings.warn(warned.detail, ResultWarning, stacklevel=2)
        return self.images(job)

    def _send(self, call: Call[T]) -> T:
        for attempt in count(1):
            outcome: Outcome
            try:
                outcome = self._http.send(call.request(self._http))
            except httpx.TransportError as error:
                outcome = error
            pause_s = self._retries.pause_s(outcome, attempt, self._luck, repeatable=call.repeatable, keyed=call.keyed)
            if pause_s is None:
                return call.result(outcome)
            self._sleep(pause_s)
        raise AssertionError("counting does not end")
