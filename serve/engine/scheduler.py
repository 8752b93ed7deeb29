"""Who runs next. Pure policy: no tensors, no clock, no threads.

- **Keys take turns.** Each `schedule()` is one key's turn; then the key goes to the back, behind any that came
  meanwhile. Of K keys with images none waits for more than K - 1 steps of others. Nothing is weighted: what tenants
  deserve is settled by the dispatcher, before the engine.
- **Within a key, first come, first served.** A batch is all running images of the key; they keep their seats until
  they had all their steps, and the oldest waiting images take the seats that are left, at every turn.
- **Lookahead of at most one bucket.** Where the oldest waiting image needs more rows than are left, a later one may
  take them, but only from among the bucket of rows that was added next after it. So a row is seldom padding, and no
  image is ever overtaken by more than one bucket.
- **Buckets.** Rows are padded up to a bucket and never exceed the largest that `max_rows` allows. A pinned key has one
  bucket, neither less nor more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from serve.engine.core import UNSTARTED, Batch, Failure, Image, Key

BUCKETS = (1, 2, 4, 8, 16, 32)


@dataclass(slots=True)
class Seat:
    """A running image, its state and how many steps it has had."""

    image: Image
    state: object = UNSTARTED
    done: int = 0


@dataclass(frozen=True, slots=True)
class Move:
    """What a step made of one image: `outcome` is its new state or a `Failure`, `done` the steps it has had."""

    image: Image
    done: int
    outcome: object

    @property
    def last(self) -> bool:
        """Whether the image has had all its steps."""
        return self.done == self.image.steps


@dataclass(slots=True)
class Line:
    """The images of one key, oldest first.

    Attributes:
        limit: Rows that may run at once.
        waiting: Each with its place: the rows that were added before it.
        running: At most `limit` rows of them.
        added: Rows so far, those that left included.
    """

    limit: int
    waiting: dict[str, tuple[int, Image]] = field(default_factory=dict)
    running: dict[str, Seat] = field(default_factory=dict)
    added: int = 0

    def add(self, image: Image) -> None:
        """To the end of the line."""
        self.waiting[image.id] = self.added, image
        self.added += image.rows

    def remove(self, image: Image) -> None:
        """Wherever in the line it is, if it is."""
        self.waiting.pop(image.id, None)
        self.running.pop(image.id, None)

    def join(self) -> None:
        """Seat whom the rows that are left can hold."""
        room = self.limit - sum(seat.image.rows for seat in self.running.values())
        horizon: int | None = None  # from this place on, nobody may overtake
        joining = []
        for place, image in self.waiting.values():
            if room == 0 or (horizon is not None and place >= horizon):
                break
            if image.rows <= room:
                joining.append(image)
                room -= image.rows
            elif horizon is None:
                horizon = place + image.rows + self.limit
        for image in joining:
            del self.waiting[image.id]
            self.running[image.id] = Seat(image)

    def move(self, image: Image, outcome: object) -> Move | None:
        """Take an image's new state; it gives up its seat with its last step or a failure."""
        seat = self.running.get(image.id)
        if seat is None:
            return None  # cancelled meanwhile; if it was added again, it waits
        if not isinstance(outcome, Failure):
            seat.state, seat.done = outcome, seat.done + 1
        if isinstance(outcome, Failure) or seat.done == image.steps:
            del self.running[image.id]
        return Move(image, seat.done, outcome)


class Scheduler:
    """Picks each step's batch.

    Args:
        buckets: Row counts that a batch may have.
        max_rows: Most rows of a batch; buckets above it are not used.

    Raises:
        ValueError: No bucket is within `max_rows`.
    """

    def __init__(self, buckets: Sequence[int] = BUCKETS, max_rows: int = 16) -> None:
        self.buckets = tuple(bucket for bucket in sorted(buckets) if 1 <= bucket <= max_rows)
        if not self.buckets:
            raise ValueError(f"max_rows {max_rows} is below every bucket of {tuple(buckets)}")
        self._lines: dict[Key, Line] = {}  # the next turn is the first line's; a line without images is not kept

    @property
    def busy(self) -> bool:
        """Whether there is any image."""
        return bool(self._lines)

    @property
    def waiting(self) -> int:
        """Images without a seat."""
        return sum(len(line.waiting) for line in self._lines.values())

    @property
    def running(self) -> int:
        """Images with a seat."""
        return sum(len(line.running) for line in self._lines.values())

    def add(self, image: Image) -> None:
        """Put an image at the end of its key's line; it can join at the key's next turn.

        Raises:
            ValueError: No batch could hold it: too many rows, or pinned to what is not a bucket.
        """
        pinned = image.key.pinned
        if pinned is not None and pinned not in self.buckets:
            raise ValueError(f"image {image.id!r} is pinned to {pinned} rows; the buckets are {self.buckets}")
        limit = pinned or self.buckets[-1]
        if image.rows > limit:
            raise ValueError(f"image {image.id!r} takes {image.rows} rows; its batches hold {limit}")
        self._lines.setdefault(image.key, Line(limit)).add(image)

    def cancel(self, image: Image) -> None:
        """Forget an image, waiting or running; what a batch on its way makes of it is dropped by `commit`."""
        if image.key in self._lines:
            self._lines[image.key].remove(image)
            self._sweep(image.key)

    def schedule(self) -> Batch | None:
        """The batch of the key whose turn it is; None where there are no images. `commit` it before the next.

        The state of an image that has just joined is `UNSTARTED`.
        """
        if not self._lines:
            return None
        key = next(iter(self._lines))
        line = self._lines[key] = self._lines.pop(key)  # to the back
        line.join()
        return self.pack(key, ((seat.image, seat.state) for seat in line.running.values()))

    def pack(self, key: Key, members: Iterable[tuple[Image, object]]) -> Batch:
        """A batch of these images and states, in the bucket that fits."""
        images, states = zip(*members, strict=True)
        rows = sum(image.rows for image in images)
        return Batch(key, images, states, key.pinned or next(bucket for bucket in self.buckets if bucket >= rows))

    def commit(self, batch: Batch, outcomes: Sequence[object]) -> list[Move]:
        """Take what a step made of a batch: one new state or `Failure` per image.

        Returns:
            The moves of the images that are still here; those that made their last one, or failed, have left.
        """
        if batch.key not in self._lines:
            return []
        line = self._lines[batch.key]
        moves = [line.move(image, outcome) for image, outcome in zip(batch.images, outcomes, strict=True)]
        self._sweep(batch.key)
        return [move for move in moves if move is not None]

    def _sweep(self, key: Key) -> None:
        line = self._lines[key]
        if not line.waiting and not line.running:
            del self._lines[key]
