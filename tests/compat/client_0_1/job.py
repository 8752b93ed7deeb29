"""What the API says of jobs. Members that a newer API adds are let by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Base64Bytes, BaseModel, ConfigDict, Field

from tests.compat.client_0_1.problems import from_problem
from tests.compat.client_0_1.errors import JobCancelled, JobFailed, ServeError

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]


class Said(BaseModel):
    """A part of an answer."""

    model_config = ConfigDict(frozen=True, extra="ignore")


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
        attempt: How often it was started.
        position: How many jobs are before it, while it is queued.
        predicted_s: Seconds until it is predicted to be done, while it is queued.
        deadline: When it is not wanted any more, unless it was started before.
        n: How many images.
        parameters: All of them, as used.
        images: Those that are done.
        error: The problem that ended it; `failure` is the same as an exception.
        expires_at: When the images go.
    """

    id: str
    kind: Literal["images", "map"]
    state: State
    attempt: int
    position: int | None = None
    predicted_s: float | None = None
    priority: Literal["interactive", "batch"] = "interactive"
    deadline: float | None = None
    progress: Progress | None = None
    n: int
    parameters: Mapping[str, Any]
    model: ModelVersion
    images: tuple[Image, ...] = ()
    control_maps: tuple[ControlMap, ...] = ()
    error: Mapping[str, Any] | None = None
    timings: Mapping[str, float] | None = None
    created_at: float
    started_at: float | None = None
    finished_at: float | None = None
    expires_at: float | None = None

    @property
    def terminal(self) -> bool:
        """Nothing will change any more."""
        return self.state in ("succeeded", "failed", "cancelled")

    @property
    def failure(self) -> ServeError | None:
        """Why there are no images, if the job ended without."""
        failure: ServeError | None = None
        if self.state == "failed":
            failure = from_problem(self.error) if self.error else JobFailed("The job failed.")
        elif self.state == "cancelled":
            failure = JobCancelled("The job was cancelled.")
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
    """

    job: str
    id: str
    type: str
    width: int
    height: int
    parameters: Mapping[str, Any]
    png: Base64Bytes = Field(alias="b64", repr=False)
