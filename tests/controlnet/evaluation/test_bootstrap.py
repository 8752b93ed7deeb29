from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlnet.evaluation.bootstrap import mean, ratio


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_an_interval_holds_its_value_and_stays_among_the_values(values: list[float]) -> None:
    found = mean(values)
    assert found.low - 1e-9 <= found.value <= found.high + 1e-9
    assert min(values) - 1e-9 <= found.low
    assert found.high <= max(values) + 1e-9
    assert found.count == len(values)


def test_equal_values_leave_no_doubt() -> None:
    found = mean([0.5] * 20)
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)


def test_an_interval_is_that_of_the_normal_approximation_where_that_is_right() -> None:
    hits = np.arange(400) % 4 == 0
    found = mean(hits)
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.sqrt(0.25 * 0.75 / 400), rel=0.1)


def test_four_times_the_images_halve_the_interval() -> None:
    values = np.random.default_rng(1).random(100)
    few, many = mean(values), mean(np.tile(values, 4))
    assert (many.high - many.low) / (few.high - few.low) == pytest.approx(0.5, rel=0.1)


def test_the_same_values_give_the_same_interval() -> None:
    values = np.random.default_rng(2).random(50)
    assert mean(values) == mean(values)


def test_a_ratio_draws_both_numbers_of_an_image() -> None:
    reference = np.random.default_rng(3).random(50) + 0.1
    found = ratio(2 * reference, reference)
    assert (found.low, found.high) == (pytest.approx(2), pytest.approx(2))


def test_a_ratio_over_nothing_is_large_but_a_number() -> None:
    found = ratio([0.5, 0.5], [0.0, 0.0])
    assert found.value == found.high == pytest.approx(500)


def test_nothing_has_no_mean() -> None:
    with pytest.raises(ValueError, match="0 values"):
        mean([])


def test_a_ratio_needs_as_many_of_both() -> None:
    with pytest.raises(ValueError, match="2 values over 3"):
        ratio([1, 2], [1, 2, 3])
