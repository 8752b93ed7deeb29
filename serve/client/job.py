"""What the API says of jobs.

Members that a newer API adds are let by, and words that it adds to `state`, `kind` and `priority` are kept as text: a
program compares them with what it knows, and has a way for what it does not. `docs/api-versions.md` has the promise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from pydantic import Base64Bytes, BaseModel, ConfigDict, Field

from serve.client.problems import from_problem
from serve.errors import JobCancelled, JobFailed, ServeError

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]
Kind = Literal["images", "map"]
Priority = Literal["interactive", "batch"]

_STATES = frozenset(get_args(State))
_TERMINAL = frozenset[str]({"succeeded", "failed", "cancelled"})


class Said(BaseModel):
    """A part of an answer."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Warned(Said):
    """What of a request had no effect, or is rarely meant.

    Attributes:
        code: Kind of the warning (`prompt-cut`, `map-shrunk` ...); a newer API has more.
        field: Part of the request, as a dotted path.
        detail: A sentence for a person.
    """

    code: str
    field: str
    detail: str


class ModelVersion(Said):
    """The weights that make a job's images."""

    name: str
    version: str
    digest: str


class Progress(Said):
    """Steps done, image by image, of `of`."""

    steps: tuple[int, ...]
    of: int


class Image(Said):
    """A finished image; `Client.images` has the bytes. Sizes in pixels."""

    index: int
    seed: int
    width: int
    height: int
    url: str


class ControlMap(Said):
    """A map that steers the images. Later jobs may use it by its id."""

    index: int
    type: str
    id: str
    url: str


class Job(Said):
    """A job as it was when it was asked for. Times are epoch seconds, timings seconds by phase.

    Attributes:
        kind: `Kind`, or a word of a newer API.
        state: `State`, or a word of a newer API; `terminal` knows what to make of it.
        attempt: How often it was started.
        position: How many jobs are before it, while it is queued.
        predicted_s: Seconds until it is predicted to be done, while it is queued.
        priority: `Priority`, or a word of a newer API.
        deadline: When it is not wanted any more, unless it was started before.
        n: How many images.
        parameters: All of them, as used.
        images: Those that are done.
        error: The problem that ended it; `failure` is the same as an exception.
        warnings: What of the request had no effect, or is rarely meant; once it has succeeded.
        expires_at: When the images go.
    """

    id: str
    kind: Kind | str
    state: State | str
    attempt: int
    position: int | None = None
    predicted_s: float | None = None
    priority: Priority | str = "interactive"
    deadline: float | None = None
    progress: Progress | None = None
    n: int
    parameters: Mapping[str, Any]
    model: ModelVersion
    images: tuple[Image, ...] = ()
    control_maps: tuple[ControlMap, ...] = ()
    error: Mapping[str, Any] | None = None
    timings: Mapping[str, float] | None = None
    warnings: tuple[Warned, ...] = ()
    created_at: float
    started_at: float | None = None
    finished_at: float | None = None
    expires_at: float | None = None

    @property
    def terminal(self) -> bool:
        """Nothing will change any more. A state that is unknown here is an end if the job has finished."""
        if self.state in _STATES:
            return self.state in _TERMINAL
        return self.finished_at is not None

    @property
    def failure(self) -> ServeError | None:
        """Why there are no images, if the job ended without.

        An end that is unknown here is judged by what it left: its error, or fewer images than were asked for.
        """
        failure: ServeError | None = None
        if self.state == "failed":
            failure = from_problem(self.error) if self.error else JobFailed("The job failed.")
        elif self.state == "cancelled":
            failure = JobCancelled("The job was cancelled.")
        elif self.terminal and self.state != "succeeded":
            if self.error:
                failure = from_problem(self.error)
            elif len(self.images) < self.n:
                failure = JobFailed(f"The job ended as {self.state!r}, which this client does not know.")
        if failure is not None:
            failure.job = self.id
        return failure


class Page(Said):
    """Some jobs, newest first, and the cursor to the next ones."""

    jobs: tuple[Job, ...]
    next: str | None


class Map(Said):
    """A control map that was made for its own sake. `Control.map` takes it, so that later jobs need not annotate.

    Attributes:
        job: Id of the job that made it.
        type: The control it is for.
        width: Pixels.
        height: Pixels.
        parameters: Of the annotator, as used.
        png: The picture.
        warnings: What of the request had no effect, or is rarely meant.
    """

    job: str
    id: str
    type: str
    width: int
    height: int
    parameters: Mapping[str, Any]
    png: Base64Bytes = Field(alias="b64", repr=False)
    warnings: tuple[Warned, ...] = ()
