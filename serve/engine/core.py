"""The engine's words: what is asked, what passes between scheduler and model, and what listeners are told.

Image --Scheduler--> Batch --Model--> states, results --Engine--> Listener

EngineClosed          no more images are accepted: the engine drains or was stopped
└── EngineDead        it will never accept one again: one of its loops died
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Protocol


class EngineClosed(Exception):
    """The engine takes no more images."""


class EngineDead(EngineClosed):
    """One of the engine's loops died of a bug; the log says of which."""


class _Unstarted(Enum):
    UNSTARTED = "unstarted"


UNSTARTED: Final = _Unstarted.UNSTARTED
"""The state of an image that is about to start. Schedulers hand it out, models never meet it."""


@dataclass(frozen=True, slots=True)
class Key:
    """Images with equal keys may share a batch.

    Attributes:
        height: In pixels.
        width: In pixels.
        digest: Of the bundle that samples.
        pinned: The one bucket, in rows, that every batch of the key has; None where the bucket follows the rows.
    """

    height: int
    width: int
    digest: str
    pinned: int | None = None


@dataclass(frozen=True, slots=True)
class Image:
    """One picture to sample.

    Attributes:
        id: Unlike that of any other image which the engine holds.
        job: Whose picture it is.
        key: With which others it may share a batch.
        rows: Lines of a UNet batch it takes: 2 under classifier-free guidance, 1 without.
        steps: How often it is stepped, at least once.
        payload: For the model; the engine does not look inside.
        gflop: Work of one of its steps, for observers; the engine does not look at it either.
    """

    id: str
    job: str
    key: Key
    rows: int
    steps: int
    payload: object = field(repr=False, compare=False)
    gflop: float = field(default=0.0, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.rows not in (1, 2):
            raise ValueError(f"image {self.id!r} takes {self.rows} rows, not 1 or 2")
        if self.steps < 1:
            raise ValueError(f"image {self.id!r} has {self.steps} steps, fewer than 1")


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """All that passes between scheduler and model: images of one key and, in the same order, their states.

    Attributes:
        key: Of every image.
        images: At least one.
        states: What the model last made of each image.
        bucket: Rows after padding, `rows` or more.
    """

    key: Key
    images: tuple[Image, ...]
    states: tuple[object, ...] = field(repr=False)
    bucket: int

    @property
    def rows(self) -> int:
        """Rows before padding."""
        return sum(image.rows for image in self.images)

    @property
    def gflop(self) -> float:
        """Work of its step, that of padding included."""
        return sum(image.gflop for image in self.images) * self.bucket / self.rows


@dataclass(frozen=True, slots=True)
class Failure:
    """Stands where an image's state or result would: what the model raised for that image alone."""

    error: Exception


class Model(Protocol):
    """Three verbs over opaque states. Each answers with one item per image, in the order of the images.

    A verb that raises is tried again on parts of its images, so it must leave the states it was given as they were.
    `finish` is called from another thread than `start` and `step`, while these run.
    """

    def start(self, images: Sequence[Image]) -> list[object]:
        """First states of images of one key: encode text and hints, draw noise."""

    def step(self, batch: Batch) -> list[object]:
        """New states, each image one step on."""

    def finish(self, key: Key, states: Sequence[object]) -> list[object]:
        """Results of images that have had all their steps: decoded pictures."""


class Listener(Protocol):
    """Hears of one image: `started` and `stepped` while it runs, then exactly one of the last three, then nothing.

    The engine calls from its own threads or from the one that cancels or stops, in order, under its lock: be quick,
    and wait for nobody. Submitting and cancelling from here is allowed. What a listener raises is logged and forgotten.
    """

    def started(self, image: Image, /) -> None:
        """It has joined a batch."""

    def stepped(self, image: Image, done: int, of: int, /) -> None:
        """It has had `done` of its `of` steps."""

    def finished(self, image: Image, result: object, /) -> None:
        """Here is the picture."""

    def failed(self, image: Image, error: Exception, /) -> None:
        """The model raised for this image alone, or (`EngineClosed`) the engine ended before it was finished."""

    def cancelled(self, image: Image, /) -> None:
        """Somebody cancelled it."""


@dataclass(slots=True)
class Stats:
    """A snapshot for telemetry.

    Attributes:
        steps: Batches stepped.
        rows: Rows that images took in them.
        padding: Rows that padding took.
        step_seconds: Time spent stepping, starting newcomers included.
        bucket: Of the last batch; 0 before the first.
        finished: Images that ended with a result.
        failed: Images that ended with an error.
        cancelled: Images that ended because somebody wished so.
        waiting: Images not started now.
        running: Images between their first and last step now.
        finishing: Images past their last step, without a result, now.
    """

    steps: int = 0
    rows: int = 0
    padding: int = 0
    step_seconds: float = 0.0
    bucket: int = 0
    finished: int = 0
    failed: int = 0
    cancelled: int = 0
    waiting: int = 0
    running: int = 0
    finishing: int = 0
