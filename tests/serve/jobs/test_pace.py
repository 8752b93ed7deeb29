"""Learning `t(B) = a + b B`."""

from __future__ import annotations

import random

import hypothesis.strategies as st
import pytest
from hypothesis import given

from serve.jobs.pace import Pace, PaceLearner


def learned(steps):
    learner = PaceLearner(16)
    for rows, gflop, seconds in steps:
        learner.learn(rows, gflop, seconds)
    return learner.pace()


def test_before_the_first_step_nothing_is_known():
    assert PaceLearner(16).pace() is None


def test_the_line_behind_the_steps_is_found():
    pace = learned((rows, 5.0 * rows, 0.75 + 0.25 * 5.0 * rows) for rows in (1, 2, 4, 8, 16) * 20)
    assert (pace.fixed, pace.per_gflop) == pytest.approx((0.75, 0.25))
    assert (pace.gflop, pace.rows) == (pytest.approx(80.0), 16)


def test_noise_averages_out():
    luck = random.Random(3)
    steps = [(rows, 2.0 * rows, (0.01 + 0.003 * 2 * rows) * luck.uniform(0.8, 1.2)) for rows in (2, 8, 16) * 300]
    assert learned(steps).step_s(32.0) == pytest.approx(0.106, rel=0.05)


def test_the_past_is_forgotten():
    slow = [(rows, 1.0 * rows, 1.0 * rows) for rows in (2, 4, 8) * 200]
    fast = [(rows, 1.0 * rows, 0.1 * rows) for rows in (2, 4, 8) * 700]
    assert learned([*slow, *fast]).step_s(8.0) == pytest.approx(0.8, rel=0.05)


def test_steps_that_are_all_alike_promise_nothing_that_was_not_seen():
    pace = learned([(4, 8.0, 0.5)] * 50)
    assert pace.step_s(8.0) == pytest.approx(0.5)
    assert pace.rate == pytest.approx(16.0)


def test_small_pictures_in_large_batches_cost_what_they_cost():
    """By rows these two are a scatter; by work they are a line."""
    steps = [(rows, size * rows, 0.1 + 0.01 * size * rows) for rows in (2, 4, 8) for size in (1.0, 6.0)] * 30
    pace = learned(steps)
    assert (pace.fixed, pace.per_gflop) == pytest.approx((0.1, 0.01))


@pytest.mark.parametrize("step", [(0, 1.0, 1.0), (2, 0.0, 1.0), (2, 1.0, 0.0)])
def test_what_is_no_step_teaches_nothing(step):
    assert learned([step]) is None


steps_seen = st.tuples(st.sampled_from([1, 2, 4, 8, 16]), st.floats(1e-3, 1e6), st.floats(1e-6, 1e3))


@given(st.lists(steps_seen, min_size=1, max_size=60))
def test_whatever_was_seen_time_is_positive_and_grows_with_work(steps):
    pace = learned(steps)
    assert isinstance(pace, Pace)
    assert pace.fixed >= 0
    assert pace.per_gflop >= 0
    assert 0 < pace.step_s(1.0) <= pace.step_s(2.0)
    assert 0 < pace.rate < float("inf")
