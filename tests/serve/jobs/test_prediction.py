"""When a job would be done."""

from __future__ import annotations

from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given

from serve.jobs.cost import Cost
from serve.jobs.fairness import Backlog
from serve.jobs.pace import Pace
from serve.jobs.prediction import Capacity, Running, predicted_s

PACE = Pace(fixed=0.75, per_gflop=0.25, gflop=8.0, rows=16)
ONE = Capacity(PACE, samplers=1)
JOB = Cost(rows=2, gflop=20.0, steps=20, step_gflop=1.0)
ALONE_S = 21 * 1.0  # a step for the one it comes in the middle of
FULL_S = 20 * 2.75


def running(count, elapsed=0.0):
    return [Running(2, 20.0, elapsed)] * count


def backlog(jobs):
    return Backlog(jobs, 2 * jobs, 20.0 * jobs, 0.0)


def test_alone_it_takes_its_own_time():
    assert predicted_s(ONE, [], Backlog(), JOB) == pytest.approx(ALONE_S)


def test_a_free_seat_is_not_waited_for_but_shared():
    assert predicted_s(ONE, running(7), Backlog(), JOB) == pytest.approx(21 * 2.75)


def test_where_all_seats_are_taken_the_first_to_come_free_is_its():
    others = [*running(1, elapsed=50.0), *running(7, elapsed=10.0)]
    assert predicted_s(ONE, others, Backlog(), JOB) == pytest.approx(5 + 21 * 2.75)


def test_who_is_before_it_takes_the_seats_first():
    assert predicted_s(ONE, running(8), backlog(8), JOB) == pytest.approx(2 * FULL_S + 21 * 2.75)


def test_more_samplers_have_more_seats():
    assert predicted_s(Capacity(PACE, 2), running(8), Backlog(), JOB) == pytest.approx(21 * 1.0 + 21 * 0.25 * 4)


def test_without_a_pace_there_is_no_capacity():
    assert Capacity.of([]) is None


def test_the_pace_is_the_samplers_mean():
    assert Capacity.of([PACE, replace(PACE, fixed=1.25)]) == Capacity(replace(PACE, fixed=1.0), 2)


counts = st.integers(0, 40)


@given(counts, counts, st.floats(0, 200))
def test_it_is_never_done_before_it_would_be_alone(count, waiting, elapsed):
    assert predicted_s(ONE, running(count, elapsed), backlog(waiting), JOB) >= ALONE_S - 1e-9


@given(counts, counts, st.integers(1, 10))
def test_more_before_it_is_no_sooner(count, waiting, more):
    less_s, more_s = (predicted_s(ONE, running(count), backlog(jobs), JOB) for jobs in (waiting, waiting + more))
    assert more_s >= less_s - 1e-9


@given(st.integers(8, 40), counts, st.floats(0, 20), st.floats(0, 20))
def test_what_runs_for_longer_is_sooner_done(count, waiting, elapsed, more):
    early, late = (predicted_s(ONE, running(count, e), backlog(waiting), JOB) for e in (elapsed, elapsed + more))
    assert late <= early + 1e-9
