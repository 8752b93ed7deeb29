from __future__ import annotations

import pytest

from serve.webhooks.backoff import Backoff

BACKOFF = Backoff(first_s=5, factor=4, longest_s=1000)


@pytest.mark.parametrize(("attempt", "most"), [(1, 5), (2, 20), (3, 80), (4, 320), (5, 1000), (50, 1000)])
def test_the_longest_wait_grows_to_its_bound(attempt: int, most: float) -> None:
    assert BACKOFF.wait_s(attempt, luck=1.0) == most


@pytest.mark.parametrize("luck", [0.0, 0.25, 0.5])
def test_luck_spreads_the_wait_from_nothing_to_the_longest(luck: float) -> None:
    assert BACKOFF.wait_s(2, luck) == 20 * luck


def test_a_receiver_that_asks_for_time_gets_it() -> None:
    assert BACKOFF.wait_s(1, 0.0, retry_after_s=90) == 90


def test_a_receiver_gets_no_more_than_the_longest_wait() -> None:
    assert BACKOFF.wait_s(1, 0.0, retry_after_s=1e9) == 1000


def test_the_default_attempts_outlast_a_night() -> None:
    assert sum(Backoff().wait_s(attempt, 0.5) for attempt in range(1, 12)) > 12 * 3600
