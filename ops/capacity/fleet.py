"""Samplers by count: what `Scaler` decides, done to machines that start cold and may be taken away."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from ops.capacity.policy import Policy
from ops.capacity.prices import Gpu


@dataclass
class Fleet:
    """Samplers by count.

    Args:
        gpu: Their kind.
        policy: How many there should be.
    """

    gpu: Gpu
    policy: Policy
    steady: int = field(init=False)
    spot: int = 0
    starting: deque[tuple[float, int, int]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.steady = self.policy.fewest

    @property
    def ready(self) -> int:
        """That work."""
        return self.steady + self.spot

    @property
    def paid(self) -> tuple[int, int]:
        """On demand, and spot; those that start included."""
        return (
            self.steady + sum(steady for _, steady, _ in self.starting),
            self.spot + sum(spot for _, _, spot in self.starting),
        )

    def start(self, now: float) -> None:
        """Those whose cold start is over."""
        while self.starting and self.starting[0][0] <= now:
            _, steady, spot = self.starting.popleft()
            self.steady += steady
            self.spot += spot

    def resize(self, now: float, target: int) -> None:
        """Towards what should be; who is still starting goes first, then spot machines beyond their share."""
        steady, spot = self.paid
        spots = self.policy.spot(target)
        more = target - steady - spot
        if more > 0:
            new = min(more, max(0, spots - spot))
            self.starting.append((now + self.gpu.cold_start_s, more - new, new))
        else:
            self._shrink(-more, spots)

    def _shrink(self, fewer: int, spots: int) -> None:
        while fewer and self.starting:
            when, steady, spot = self.starting.pop()
            gone_spot = min(spot, fewer)
            gone = min(steady, fewer - gone_spot)
            fewer -= gone_spot + gone
            if (steady, spot) != (gone, gone_spot):
                self.starting.append((when, steady - gone, spot - gone_spot))
        gone_spot = min(self.spot, fewer, max(0, self.spot - spots))
        gone = min(fewer - gone_spot, self.steady)
        self.spot -= gone_spot
        self.steady -= gone
        self.spot -= fewer - gone_spot - gone
