"""When a job would be done. Pure: what waits, what runs and the samplers' paces are given.

Samplers are one table of seats (UNet rows). Who runs leaves its seats when its work is done at the pace of a full
batch; who waits before the job takes them in turn, each for as long as its work takes; then it is the job's turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from serve.jobs.cost import Cost
from serve.jobs.fairness import Backlog
from serve.jobs.pace import Pace


@dataclass(frozen=True, slots=True)
class Running:
    """A job that was started.

    Attributes:
        elapsed: Seconds since then.
    """

    rows: int
    gflop: float
    elapsed: float


@dataclass(frozen=True, slots=True)
class Capacity:
    """Of all samplers together.

    Attributes:
        pace: Of one of them, the mean.
        samplers: How many.
    """

    pace: Pace
    samplers: int

    @classmethod
    def of(cls, paces: Sequence[Pace]) -> Capacity | None:
        """What these samplers have; nothing where none has been measured."""
        if not paces:
            return None
        count = len(paces)
        mean = Pace(
            fixed=sum(pace.fixed for pace in paces) / count,
            per_gflop=sum(pace.per_gflop for pace in paces) / count,
            gflop=sum(pace.gflop for pace in paces) / count,
            rows=round(sum(pace.rows for pace in paces) / count),
        )
        return cls(mean, count)

    @property
    def rows(self) -> int:
        """Seats."""
        return self.samplers * self.pace.rows

    def seat_s(self, rows: int, gflop: float) -> float:
        """Seconds for which each of `rows` seats is taken by so much work, the batch being full."""
        return gflop / (self.pace.rate * max(1, rows) / self.pace.rows)

    def own_s(self, cost: Cost, busy_rows: int) -> float:
        """Seconds that a job takes beside `busy_rows` of others, a step included that it comes in the middle of."""
        beside = min(self.pace.gflop, busy_rows / self.rows * self.pace.gflop)
        batch = max(cost.step_gflop, min(self.pace.gflop, beside + cost.step_gflop))
        return (cost.steps + 1) * self.pace.step_s(batch)


def predicted_s(capacity: Capacity, running: Sequence[Running], ahead: Backlog, cost: Cost) -> float:
    """Seconds until a job that waits is done.

    Args:
        capacity: Of all samplers.
        running: What was started, the first first.
        ahead: What starts before it.
        cost: Of the job.
    """
    seats, later = [0.0] * capacity.rows, ahead.rows
    free = capacity.rows
    queued = max(0, sum(job.rows for job in running) - free) / free  # of a seat's time, between start and first step
    for job in running:
        seated = min(free, job.rows)
        taken = capacity.seat_s(job.rows, job.gflop)
        left = min(taken, max(0.0, (1 + queued) * taken - job.elapsed))
        seats[free - seated : free] = [left] * seated
        free -= seated
        later += job.rows - seated  # it waits in the engine
    seats.sort()
    busy = min(capacity.rows, capacity.rows - free + later)
    mean_s = capacity.seat_s(max(1, ahead.rows), ahead.gflop) if ahead.rows else 0.0
    rounds, seat = divmod(later + min(max(1, cost.rows), capacity.rows) - 1, capacity.rows)
    wait = seats[seat] + rounds * (mean_s or capacity.seat_s(max(1, cost.rows), cost.gflop))
    return wait + capacity.own_s(cost, busy)
