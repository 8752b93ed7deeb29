"""One sampler, one dispatcher, one api, and a clock that jumps from event to event."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from ops.fairness.lines import Line, Offer
from serve.config import lookahead
from serve.engine.core import Batch, Image, Key
from serve.engine.scheduler import Scheduler
from serve.jobs.cost import Cost
from serve.jobs.pace import Pace

MAX_ROWS = 16
LOOKAHEAD = lookahead(MAX_ROWS)

PACE = Pace(fixed=0.75, per_gflop=0.25, gflop=8.0, rows=MAX_ROWS)
"""A step of one image takes a second, one of eight 2.75: the shape of a GPU's, as measured in `ops/bench`."""

FULL_STEP_S = PACE.step_s(PACE.gflop)
KEY = Key(8, 8, "sha256:00")


def job(steps: int = 20) -> Cost:
    """One image under guidance; a step of it is one GFLOP."""
    return Cost(rows=2, gflop=float(steps), steps=steps, step_gflop=1.0)


def full_bucket_s(cost: Cost) -> float:
    """Seconds that a job takes in a full batch, without waiting: what deadlines are multiples of."""
    return cost.steps * FULL_STEP_S


CAPACITY = PACE.rate / job().gflop
"""Jobs of 20 steps a second."""


class Clock:
    """Where the simulation is."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Epoch seconds, of an epoch of its own."""
        return self.now


@dataclass(slots=True)
class Served:
    """What became of an offer; no times where it did not come so far.

    Attributes:
        accepted: Whether it was, for its predicted completion.
        predicted_s: Seconds that were predicted when it came; asked only of jobs with a deadline.
        started: When it was claimed.
        done: When it had its last step.
    """

    offer: Offer
    accepted: bool
    predicted_s: float | None = None
    started: float | None = None
    done: float | None = None

    @property
    def latency(self) -> float:
        """Seconds from its coming to its last step."""
        assert self.done is not None
        return self.done - self.offer.at

    @property
    def met(self) -> bool:
        """Whether it was done in time."""
        return self.done is not None and self.latency <= (self.offer.deadline_s or float("inf"))


@dataclass
class Simulation:
    """Serve offers from a line.

    Args:
        line: Where accepted ones wait.
        clock: The line's.
        offers: In the order in which they come.
    """

    line: Line
    clock: Clock
    offers: Sequence[Offer]
    order: list[int] = field(default_factory=list)
    served: list[Served] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._scheduler = Scheduler(max_rows=MAX_ROWS)
        self._coming = deque(enumerate(self.offers))
        self._rows: dict[int, int] = {}

    def run(self) -> list[Served]:
        """Go on until nothing is left."""
        self._take(self.clock.now)
        while (batch := self._scheduler.schedule()) is not None or self._coming:
            if batch is None:
                self._take(self._coming[0][1].at)
            else:
                self._step(batch)
        return self.served

    def _step(self, batch: Batch) -> None:
        end = self.clock.now + PACE.step_s(sum(image.gflop for image in batch.images))
        self._take(end)
        for move in self._scheduler.commit(batch, [None] * len(batch.images)):
            if move.last:
                number = int(move.image.id)
                self.served[number].done = end
                del self._rows[number]
                self.line.finish(number)
        self._claim()

    def _take(self, until: float) -> None:
        """What comes until then, each at its own time."""
        while self._coming and self._coming[0][1].at <= until:
            number, offer = self._coming.popleft()
            self.clock.now = offer.at
            expected = None if offer.deadline_s is None else self.line.predicted_s(offer)
            accepted = expected is None or offer.deadline_s is None or expected <= offer.deadline_s
            self.served.append(Served(offer, accepted, expected))
            if accepted:
                self.line.submit(number, offer)
                self._claim()
        self.clock.now = max(self.clock.now, until)

    def _claim(self) -> None:
        room = MAX_ROWS + LOOKAHEAD - sum(self._rows.values())
        for number in self.line.claim(room) if room > 0 else ():
            cost = self.offers[number].cost
            self.order.append(number)
            self.served[number].started = self.clock.now
            self._rows[number] = cost.rows
            image = Image(str(number), str(number), KEY, cost.rows, cost.steps, None, gflop=cost.step_gflop)
            self._scheduler.add(image)
