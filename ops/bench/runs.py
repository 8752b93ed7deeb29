"""Images through the real engine, and one at a time; both remember when what happened and what was made."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from controlnet.generate import generate
from controlnet.pipeline import ImageSpec
from ops.bench.crowds import Specs
from ops.bench.subjects import Subject
from ops.bench.threads import alone
from serve.engine.core import Batch, Image, Key, Model, Stats
from serve.engine.loop import Engine
from serve.engine.scheduler import Scheduler
from serve.sampler import PipelineModel, Shelf

MAX_ROWS = 16  # the platform's default
DIGEST = "subject"


@dataclass(slots=True)
class Run:
    """What came of a crowd.

    Attributes:
        seconds: From the first start to the last picture.
        pictures: uint8 [H, W, 3] by image, or what was raised for it.
        stats: The engine's, where there was one.
    """

    seconds: float
    pictures: dict[str, object]
    stats: Stats = field(default_factory=Stats)


class Crowd:
    """A `serve.engine.core.Listener` of many images that notes the moments."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.started_at: dict[str, float] = {}
        self.ended_at: dict[str, float] = {}
        self.pictures: dict[str, object] = {}
        self._clock = clock
        self._ended = threading.Condition()

    def started(self, image: Image, /) -> None:
        """Note when."""
        self.started_at[image.id] = self._clock()

    def stepped(self, image: Image, done: int, of: int, /) -> None:
        """Nothing to note."""

    def finished(self, image: Image, result: object, /) -> None:
        """Note when and what."""
        self.end(image.id, result)

    def failed(self, image: Image, error: Exception, /) -> None:
        """The error stands where the picture would: it equals none."""
        self.end(image.id, error)

    def cancelled(self, image: Image, /) -> None:
        """Nobody here cancels."""

    def end(self, name: str, result: object) -> None:
        """Note when an image ended and what it came to."""
        with self._ended:
            self.ended_at[name] = self._clock()
            self.pictures[name] = result
            self._ended.notify_all()

    def wait(self, count: int) -> None:
        """Until `count` images have ended."""
        with self._ended:
            self._ended.wait_for(lambda: len(self.ended_at) >= count)


def model_of(subject: Subject) -> Model:
    """The model that the platform's sampler runs."""
    shelf = Shelf(1 << 60, lambda folder: subject.pipeline)
    shelf.put(DIGEST, Path())
    return PipelineModel(shelf)


def engine_of(model: Model, observer: Callable[[Batch, float], object] | None = None) -> Engine:
    """The engine as the platform sets it up on a CPU, not started."""
    return Engine(model, Scheduler(max_rows=MAX_ROWS), apart=False, observer=observer)


def image_of(name: str, spec: ImageSpec, pinned: int | None = None) -> Image:
    """A spec as the engine takes it."""
    return Image(name, "bench", Key(spec.height, spec.width, DIGEST, pinned), spec.rows, spec.steps, spec)


def together(model: Model, specs: Specs, pinned: int | None = None) -> Run:
    """All images wait when the engine starts."""
    crowd, engine = Crowd(), engine_of(model)
    for name, spec in specs.items():
        engine.submit(image_of(name, spec, pinned), crowd)
    began = time.perf_counter()
    engine.start()
    crowd.wait(len(specs))
    seconds = time.perf_counter() - began
    stats = engine.stats
    engine.stop()
    return Run(seconds, crowd.pictures, stats)


def one_at_a_time(subject: Subject, specs: Specs, pinned: int | None = None) -> Run:
    """The slow obvious path: each image from its first step to its picture before the next."""

    def run() -> Run:
        began = time.perf_counter()
        pictures: dict[str, object] = {n: generate(subject.pipeline, [s], pinned=pinned)[0] for n, s in specs.items()}
        return Run(time.perf_counter() - began, pictures)

    return alone(run)


def image_steps(specs: Specs) -> int:
    """Steps of all images, the unit of work that does not depend on how they are batched."""
    return sum(spec.steps for spec in specs.values())
