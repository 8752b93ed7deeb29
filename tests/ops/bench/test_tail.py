from __future__ import annotations

from itertools import islice

import pytest

from ops.bench.tail import arrivals, queue


def test_a_queue_makes_one_at_a_time_in_the_order_of_arrival() -> None:
    due = [(0.0, "long"), (1.0, "short"), (10.0, "short")]
    assert list(queue(iter(due), {"long": 4.0, "short": 1.0})) == [4.0, 4.0, 1.0]


def test_arrivals_are_a_function_of_the_seed() -> None:
    first, again, other = (list(islice(arrivals("ab", 2.0, seed), 50)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_arrivals_come_at_the_rate_asked_for() -> None:
    *_, (last, _) = islice(arrivals("ab", 2.0, 1), 20_000)
    assert last / 20_000 == pytest.approx(2.0, rel=0.02)
