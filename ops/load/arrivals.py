"""When requests arrive. Seconds from the start, in order; nobody waits for anybody's answer."""

from __future__ import annotations

import random
from collections.abc import Iterator

BURST = 4.0
"""How much more than the mean arrives in a burst."""

BURST_S, LULL_S = 2.0, 10.0
"""Lengths of a burst, and of the lull before the next."""


def poisson(rate: float, seconds: float, luck: random.Random) -> Iterator[float]:
    """Arrivals that know nothing of each other.

    Args:
        rate: A second.
        seconds: How long they come.
        luck: Decides.
    """
    at = luck.expovariate(rate)
    while at < seconds:
        yield at
        at += luck.expovariate(rate)


def bursty(
    rate: float,
    seconds: float,
    luck: random.Random,
    burst: float = BURST,
    burst_s: float = BURST_S,
    lull_s: float = LULL_S,
) -> Iterator[float]:
    """A Poisson stream that is switched between two rates: the same mean, in bursts and lulls.

    Bursts come at equal distances, the first at a random moment: so a short run has the mean, too.

    Args:
        rate: A second, on average.
        seconds: How long they come.
        luck: Decides.
        burst: The rate of a burst over the mean.
        burst_s: Length of a burst.
        lull_s: Of a lull.

    Raises:
        ValueError: Bursts alone are more than the mean.
    """
    share = burst_s / (burst_s + lull_s)
    if not 1 <= burst <= 1 / share:
        raise ValueError(f"burst is {burst}: choose 1 to {1 / share:.2f}, or more would come than `rate` has")
    lull = (1 - share * burst) / (1 - share)
    began = -luck.random() * (burst_s + lull_s)  # where the first cycle would have begun
    while began < seconds:
        for offset, length, now in ((0.0, burst_s, rate * burst), (burst_s, lull_s, rate * lull)):
            if now > 0:
                times = (began + offset + at for at in poisson(now, length, luck))
                yield from (at for at in times if 0 <= at < seconds)
        began += burst_s + lull_s
