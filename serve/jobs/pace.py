"""How long things take: `t(B) = a + b B`, learned from the steps that samplers run. Standard library only.

A step takes `a` seconds whatever is in it (launches, Python, the weights' way through the memory) and `b` more for each
GFLOP. Rows would not do for `B`: those of a large picture cost many times those of a small one.
"""

from __future__ import annotations

from dataclasses import dataclass

KEEP = 0.995
"""The weight of the past after each step: some two hundred steps are remembered."""

ALIKE = 1e-4
"""Variance of B, relative to its square, below which steps are taken to be all alike."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Of one sampler.

    Attributes:
        fixed: Seconds of a step, whatever is in it.
        per_gflop: Seconds more for each GFLOP.
        gflop: Of a full batch's step, as its jobs are now.
        rows: Of a full batch.
    """

    fixed: float
    per_gflop: float
    gflop: float
    rows: int

    def step_s(self, gflop: float) -> float:
        """Seconds of a step of so much work."""
        return self.fixed + self.per_gflop * gflop

    @property
    def rate(self) -> float:
        """GFLOP a second in full batches."""
        return self.gflop / self.step_s(self.gflop)


class PaceLearner:
    """Exponentially forgetting least squares with `a, b >= 0`.

    Means and deviations are kept, not sums of squares, so that nothing cancels. Steps that were all alike can't tell
    `a` from `b`: then time is taken to grow with work, which promises nothing that was not seen.

    Args:
        max_rows: Of a full batch.
    """

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        self._weight = 0.0
        self._work = self._seconds = self._spread = self._together = self._per_row = 0.0

    def learn(self, rows: int, gflop: float, seconds: float) -> None:
        """Take a step into account.

        Args:
            rows: Of its bucket.
            gflop: Likewise, padding included.
            seconds: It took.
        """
        if rows < 1 or gflop <= 0 or seconds <= 0:
            return
        self._weight = KEEP * self._weight + 1
        share = 1 / self._weight
        work, taken = gflop - self._work, seconds - self._seconds
        self._work += share * work
        self._seconds += share * taken
        self._spread += share * (work * (gflop - self._work) - self._spread)
        self._together += share * (work * (seconds - self._seconds) - self._together)
        self._per_row += share * (gflop / rows - self._per_row)

    def pace(self) -> Pace | None:
        """What was learned; nothing before the first step."""
        if not self._weight:
            return None
        fixed, slope = 0.0, self._seconds / self._work
        if self._spread > ALIKE * self._work**2:
            slope = max(0.0, self._together / self._spread)
            fixed = self._seconds - slope * self._work
            if fixed < 0:  # through the origin then, with all the weight it deserves
                moment = self._spread + self._work**2
                fixed, slope = 0.0, (self._together + self._seconds * self._work) / moment
        return Pace(fixed, slope, self._per_row * self._max_rows, self._max_rows)
