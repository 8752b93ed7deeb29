"""What the simulation must do for its table to mean anything; and the table's claim, on a short trace."""

from __future__ import annotations

import math
import warnings

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of pydantic, about Ray's own models
    from ops.scaling.policies import Always, ByRequests, ByWork, Delayed, View

from ops.scaling.simulation import COLD_S, PACE, simulate
from ops.scaling.trace import LARGE, SEVERAL, SMALL, Arrival, trace
from serve.deployments.scaling import Work


def by_work(within: float = 60.0, down: float = 60.0, most: int = 8) -> ByWork:
    return ByWork(PACE, within, Delayed(most, 0.0, down))


def view(now: float, jobs: int, running: int = 1, target: int = 1) -> View:
    return View(now, running, target, Work(waiting=jobs, waiting_gflop=20.0 * jobs))


def test_a_job_alone_takes_a_cold_start_and_its_own_steps() -> None:
    outcome = simulate([Arrival(0.0, SMALL)], by_work())
    assert outcome.latencies[0] == pytest.approx(COLD_S + 20 * PACE.step_s(1.0))
    assert outcome.starts == 1


def test_eight_jobs_step_together() -> None:
    outcome = simulate([Arrival(1.0, SMALL)] * 8, Always(1), cold_s=0.0)
    assert outcome.latencies == pytest.approx([20 * PACE.step_s(8.0)] * 8)


def test_a_ninth_waits_for_a_seat() -> None:
    outcome = simulate([Arrival(1.0, SMALL)] * 9, Always(1), cold_s=0.0)
    assert outcome.latencies[8] == pytest.approx(20 * (PACE.step_s(8.0) + PACE.step_s(1.0)))


def test_work_is_the_same_however_jobs_are_mixed() -> None:
    """No step is lost and none is made twice: seconds of stepping are those of the batches."""
    outcome = simulate([Arrival(1.0, SEVERAL), Arrival(1.0, LARGE)], Always(1), cold_s=0.0)
    both = 30 * PACE.step_s(SEVERAL.step_gflop + LARGE.step_gflop)
    assert outcome.latencies == pytest.approx([both, both + 20 * PACE.step_s(LARGE.step_gflop)])


def test_who_is_let_go_ends_its_jobs_first() -> None:
    class Hasty:
        def __call__(self, view: View) -> int:
            return 1 if view.now <= 1 else 0

    outcome = simulate([Arrival(1.0, LARGE)], Hasty(), cold_s=0.0)
    assert outcome.latencies == pytest.approx([50 * PACE.step_s(LARGE.step_gflop)])
    assert outcome.gpu_hours * 3600 == pytest.approx(1 + math.ceil(outcome.latencies[0]))


def test_an_idle_replica_costs_until_it_goes() -> None:
    arrivals = [Arrival(0.0, SMALL), Arrival(1000.0, SMALL)]
    short, long = (simulate(arrivals, by_work(down=down)).gpu_hours for down in (30.0, 3000.0))
    assert long * 3600 > 1000 > short * 3600


def test_requests_are_counted_as_ray_counts_them() -> None:
    policy = ByRequests(4.0, Delayed(8, 0.0, 60.0))
    assert policy(view(0.0, jobs=40)) == 8
    assert [policy(view(float(now), jobs=0, target=8)) for now in range(1, 5)] == [8] * 4  # it is told in ten seconds


def test_out_of_zero_ray_asks_for_one_and_the_work_for_what_it_needs() -> None:
    burst = View(0.0, 0, 0, Work(waiting=100, waiting_gflop=100 * LARGE.gflop))
    assert ByRequests(4.0, Delayed(8, 0.0, 60.0))(burst) == 1
    assert by_work()(burst) == 8


def test_fewer_are_not_asked_for_before_the_delay_is_over() -> None:
    policy = by_work(down=60.0)
    asked = [policy(view(float(now), jobs=0)) for now in range(62)]
    assert asked.index(0) == 60


def test_a_trace_is_its_seeds() -> None:
    assert trace(7, hours=1) == trace(7, hours=1) != trace(8, hours=1)


@pytest.mark.parametrize("seed", [11, 12])
def test_every_job_of_a_trace_ends(seed: int) -> None:
    arrivals = trace(seed, hours=1)
    assert len(simulate(arrivals, by_work()).latencies) == len(arrivals)
