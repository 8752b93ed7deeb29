"""How many samplers are wanted, and how Serve's controller learns it."""

from __future__ import annotations

import math
import sys
import warnings
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of pydantic, about Ray's own models
    from ray import cloudpickle
    from ray.serve._private.common import DeploymentID
    from ray.serve.config import AutoscalingPolicy

from serve.deployments import scaling
from serve.deployments.names import POLICY
from serve.deployments.scaling import MAPS, SAMPLERS, Work, replicas, samplers
from serve.jobs.pace import Pace

PACE = Pace(fixed=0.5, per_gflop=0.5, gflop=9.0, rows=16)  # 1.8 GFLOP/s in full batches
SEATS = 16

counts = st.integers(0, 500)
works = st.builds(
    lambda waiting, each, running, rows: Work(waiting, waiting * each, running, running * each, running * rows),
    counts,
    st.floats(0.01, 1e4),
    st.integers(0, 40),
    st.integers(2, 16),
)
paces = st.none() | st.builds(Pace, st.floats(1e-3, 2), st.floats(1e-6, 2), st.floats(0.1, 1e3), st.just(SEATS))
times = st.floats(1, 3600)


def test_nobody_is_wanted_for_nothing() -> None:
    assert samplers(Work(), PACE, SEATS, 60) == 0


def test_as_many_as_clear_it_in_time() -> None:
    assert samplers(Work(waiting=50, waiting_gflop=1.8 * 60 * 3), PACE, SEATS, 60) == 3
    assert samplers(Work(waiting=50, waiting_gflop=1.8 * 60 * 3), PACE, SEATS, 180) == 1
    assert samplers(Work(waiting=50, waiting_gflop=1.8 * 60 * 3 + 1), PACE, SEATS, 60) == 4


def test_the_same_number_of_jobs_may_want_one_sampler_or_many() -> None:
    small, large = Work(waiting=20, waiting_gflop=20.0), Work(waiting=20, waiting_gflop=2000.0)
    assert (samplers(small, PACE, SEATS, 60), samplers(large, PACE, SEATS, 60)) == (1, 19)


def test_a_job_is_one_samplers() -> None:
    assert samplers(Work(waiting=2, waiting_gflop=1e6), PACE, SEATS, 60) == 2


def test_half_of_what_runs_is_taken_to_be_done() -> None:
    assert samplers(Work(running=9, running_gflop=1.8 * 60 * 4, running_rows=18), PACE, SEATS, 60) == 2


def test_before_a_step_was_measured_one_is_wanted_to_measure_it() -> None:
    assert samplers(Work(waiting=100, waiting_gflop=1e6), None, SEATS, 60) == 1


@given(works, paces, times)
def test_who_has_work_has_a_sampler_and_who_has_none_has_none(work: Work, pace: Pace | None, within: float) -> None:
    assert (samplers(work, pace, SEATS, within) > 0) == (work.waiting + work.running > 0)


@given(works, paces, times)
def test_never_fewer_than_what_runs_has_seats_on(work: Work, pace: Pace | None, within: float) -> None:
    assert samplers(work, pace, SEATS, within) * SEATS >= work.running_rows


@given(works, paces, times)
def test_never_more_than_there_are_jobs_or_seats_taken(work: Work, pace: Pace | None, within: float) -> None:
    most = max(work.waiting + work.running, math.ceil(work.running_rows / SEATS))
    assert samplers(work, pace, SEATS, within) <= most


@given(works, paces, times, counts, st.floats(0, 1e6))
def test_more_work_never_wants_fewer(work: Work, pace: Pace | None, within: float, jobs: int, gflop: float) -> None:
    more = replace(work, waiting=work.waiting + jobs, waiting_gflop=work.waiting_gflop + gflop)
    assert samplers(more, pace, SEATS, within) >= samplers(work, pace, SEATS, within)


@given(works, paces, times, times)
def test_more_patience_never_wants_more(work: Work, pace: Pace | None, within: float, longer: float) -> None:
    assert samplers(work, pace, SEATS, within + longer) <= samplers(work, pace, SEATS, within)


@given(works, st.builds(Pace, st.floats(1e-3, 2), st.floats(1e-6, 2), st.floats(0.1, 1e3), st.just(SEATS)), times)
def test_as_many_as_are_wanted_clear_it_in_time_where_jobs_can_be_shared_out(
    work: Work, pace: Pace, within: float
) -> None:
    wanted = samplers(work, pace, SEATS, within)
    clears = (work.waiting_gflop + work.running_gflop / 2) / pace.rate <= wanted * within * (1 + 1e-9)
    assert clears or wanted >= work.waiting + work.running


# The policy


def context(requests: float = 0.0, **told: list[list[float]]) -> SimpleNamespace:
    """As Serve makes it: of each metric, what each replica said last."""
    metrics = {
        name: {number: [SimpleNamespace(timestamp=0.0, value=value) for value in of] for number, of in enumerate(said)}
        for name, said in told.items()
    }
    return SimpleNamespace(raw_metrics=metrics, total_num_requests=requests)


def decided(**contexts: SimpleNamespace) -> dict[str, float]:
    wanted, state = replicas({DeploymentID(name, "controlnet"): of for name, of in contexts.items()})
    assert state == {}
    return {deployment.name: number for deployment, number in wanted.items()}


def test_samplers_are_as_many_as_the_dispatcher_said_last() -> None:
    told = context(**{SAMPLERS: [[0.0, 5.0, 3.0]], MAPS: [[0.0]]})
    assert decided(dispatcher=told, sampler=context(), imaging=context()) == {"sampler": 3.0, "imaging": 0}


def test_of_several_dispatchers_the_one_that_wants_most_is_heard() -> None:
    told = context(**{SAMPLERS: [[1.0], [4.0], []], MAPS: [[0.0]]})
    assert decided(dispatcher=told, sampler=context())["sampler"] == 4.0


@pytest.mark.parametrize(("calls", "maps", "wanted"), [(0.0, 0, 0), (4.0, 0, 1), (4.5, 0, 2), (3.0, 6, 3)])
def test_imaging_is_scaled_by_its_calls_and_the_maps_that_wait(calls: float, maps: int, wanted: int) -> None:
    told = context(**{SAMPLERS: [[0.0]], MAPS: [[float(maps)]]})
    assert decided(dispatcher=told, imaging=context(calls))["imaging"] == wanted


def test_while_the_dispatcher_says_nothing_all_stays_as_it_is() -> None:
    assert decided(dispatcher=context(), sampler=context(9.0), imaging=context(9.0)) == {}
    assert decided(sampler=context(9.0), imaging=context(9.0)) == {}


def test_the_policy_reaches_the_controller_by_value(monkeypatch: pytest.MonkeyPatch) -> None:
    copied = AutoscalingPolicy(policy_function=POLICY).get_serialized_policy_def()
    for name in [name for name in sys.modules if name.split(".")[0] in ("serve", "controlnet")]:
        monkeypatch.setitem(sys.modules, name, None)  # as where nothing of this is installed
    policy: Any = cloudpickle.loads(copied)
    assert policy is not scaling.replicas
    assert policy({}) == ({}, {})
