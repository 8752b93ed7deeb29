"""When a delivery that failed is tried again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential, with full jitter: receivers that came back are not hit by all that waited at once.

    With the store's 12 attempts the defaults give up after 32 hours at most, 16 on average: longer than a night.

    Attributes:
        first_s: Longest wait after the first attempt.
        factor: By which that grows with each attempt.
        longest_s: Where it stops growing.
    """

    first_s: float = 5.0
    factor: float = 4.0
    longest_s: float = 6 * 3600.0

    def wait_s(self, attempt: int, luck: float, retry_after_s: float | None = None) -> float:
        """Seconds until the next attempt.

        Args:
            attempt: Of the one that failed, from 1.
            luck: Uniform in [0, 1).
            retry_after_s: What the receiver asked for: kept, within `longest_s`.
        """
        most = min(self.longest_s, self.first_s * self.factor ** (attempt - 1))
        return max(luck * most, min(retry_after_s or 0.0, self.longest_s))
