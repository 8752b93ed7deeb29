"""A model of ten lines, a listener that remembers, a clock that only tests move, and the slow obvious engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import pytest

from serve.engine.core import Batch, Image, Key, Model
from serve.engine.loop import Engine

SMALL = Key(64, 64, "sha256:aa")
LARGE = Key(128, 128, "sha256:aa")
PINNED = Key(64, 64, "sha256:aa", pinned=4)

_ids = count()


@dataclass(frozen=True)
class Payload:
    """What the arithmetic model samples from, and at which verb or step (0, 1, ...) it raises."""

    seed: int = 0
    bad: str | int | None = None


@dataclass(frozen=True)
class State:
    """Depends on the seed, and on how often and in which order the image was stepped."""

    payload: Payload
    value: int
    index: int = 0


class Arithmetic:
    """A model whose pictures are numbers. Raises for a batch that holds an image which is bad here."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []  # tried
        self.stepped: list[Batch] = []  # of them, those that went well
        self.finished: list[int] = []  # sizes

    def start(self, images: Sequence[Image]) -> list[object]:
        payloads = [image.payload for image in images]
        refuse(payloads, "start")
        return [State(payload, payload.seed) for payload in payloads]

    def step(self, batch: Batch) -> list[object]:
        self.batches.append(batch)
        refuse([state.payload for state in batch.states if state.payload.bad == state.index], None)
        self.stepped.append(batch)
        return [State(s.payload, (s.value * 31 + s.index + 7) % 1_000_003, s.index + 1) for s in batch.states]

    def finish(self, key: Key, states: Sequence[object]) -> list[object]:
        refuse([state.payload for state in states], "finish")
        self.finished.append(len(states))
        return [(key, state.value, state.index) for state in states]


def refuse(payloads: Sequence[Payload], verb: str | None) -> None:
    for payload in payloads:
        if verb is None or payload.bad == verb:
            raise ArithmeticError(f"bad image {payload.seed}")


@dataclass
class Recorder:
    """Remembers what it was told, image by image and all together."""

    of: dict[str, list[tuple[object, ...]]] = field(default_factory=dict)
    order: list[tuple[object, ...]] = field(default_factory=list)

    def started(self, image: Image) -> None:
        self._note(image, "started")

    def stepped(self, image: Image, done: int, of: int) -> None:
        self._note(image, "stepped", done, of)

    def finished(self, image: Image, result: object) -> None:
        self._note(image, "finished", result)

    def failed(self, image: Image, error: Exception) -> None:
        self._note(image, "failed", error)

    def cancelled(self, image: Image) -> None:
        self._note(image, "cancelled")

    def kinds(self, image: Image) -> list[object]:
        return [event[0] for event in self.of.get(image.id, [])]

    def last(self, image: Image) -> tuple[object, ...]:
        return self.of[image.id][-1]

    def _note(self, image: Image, *event: object) -> None:
        self.of.setdefault(image.id, []).append(event)
        self.order.append((image.id, *event))


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def picture(
    key: Key = SMALL, *, rows: int = 2, steps: int = 3, seed: int = 0, bad: str | int | None = None, name: str = ""
) -> Image:
    return Image(name or f"image-{next(_ids)}", "job", key, rows, steps, Payload(seed, bad))


def run(engine: Engine) -> None:
    """Be both threads until nothing is left."""
    while engine.step() or engine.finish():
        pass


def one_at_a_time(model: Model, image: Image) -> object:
    """The slow obvious path, which the engine must equal."""
    [state] = model.start([image])
    for _ in range(image.steps):
        [state] = model.step(Batch(image.key, (image,), (state,), image.key.pinned or image.rows))
    [result] = model.finish(image.key, [state])
    return result


@pytest.fixture
def model() -> Arithmetic:
    return Arithmetic()


@pytest.fixture
def heard() -> Recorder:
    return Recorder()


@pytest.fixture
def clock() -> Clock:
    return Clock()
