from __future__ import annotations

import random
import statistics
from collections import Counter
from itertools import pairwise

import pytest

from ops.load.arrivals import bursty, poisson

LONG_S = 20_000.0


def dispersion(times: list[float], window_s: float = 5.0) -> float:
    """Variance over mean of the number in a window: 1 for Poisson, more where it comes in bursts."""
    counts = Counter(int(at / window_s) for at in times)
    numbers = [counts[i] for i in range(int(LONG_S / window_s))]
    return statistics.pvariance(numbers) / statistics.mean(numbers)


@pytest.mark.parametrize("arrive", [poisson, bursty])
def test_arrivals_come_in_order_at_their_rate_and_follow_from_the_seed(arrive) -> None:
    times = list(arrive(3.0, LONG_S, random.Random(1)))
    assert all(a <= b for a, b in pairwise(times))
    assert 0 <= times[0] <= times[-1] < LONG_S
    assert len(times) / LONG_S == pytest.approx(3.0, rel=0.05)
    assert times == list(arrive(3.0, LONG_S, random.Random(1)))
    assert times != list(arrive(3.0, LONG_S, random.Random(2)))


def test_bursts_are_bursts_and_poisson_is_not() -> None:
    assert dispersion(list(poisson(3.0, LONG_S, random.Random(1)))) == pytest.approx(1.0, abs=0.1)
    assert dispersion(list(bursty(3.0, LONG_S, random.Random(1)))) > 3


def test_a_burst_of_all_there_is_leaves_silence_between() -> None:
    times = list(bursty(3.0, LONG_S, random.Random(1), burst=6.0, burst_s=2.0, lull_s=10.0))
    assert len(times) / LONG_S == pytest.approx(3.0, rel=0.1)
    assert all(b - a < 2 or b - a > 8 for a, b in pairwise(times))


def test_a_short_run_in_bursts_has_the_mean_too() -> None:
    numbers = [len(list(bursty(3.0, 24.0, random.Random(seed)))) for seed in range(200)]
    assert statistics.mean(numbers) == pytest.approx(72, rel=0.05)
    assert statistics.stdev(numbers) < 12  # 8.5 is chance alone: the root of 72


def test_bursts_can_not_be_more_than_all() -> None:
    with pytest.raises(ValueError, match=r"burst is 7.*1 to 6\.00"):
        list(bursty(3.0, 10.0, random.Random(1), burst=7.0, burst_s=2.0, lull_s=10.0))
