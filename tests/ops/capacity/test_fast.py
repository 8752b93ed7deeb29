"""The averages keep what must be kept, and lie near the events."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlnet.architecture import SD15
from ops.capacity.exact import simulate_exactly
from ops.capacity.fast import shared, simulate_fast
from ops.capacity.fleet import Fleet
from ops.capacity.outcome import Outcome
from ops.capacity.policy import Policy
from ops.capacity.prices import Gpu
from ops.capacity.trace import Demand, Request, Shape
from ops.capacity.traffic import Traffic
from tests.ops.capacity.conftest import ALONE, gpu, rate, requests


def run(trace: list[Request], kind: Gpu, policy: Policy, seed: int = 0, **options: dict[str, float]) -> Outcome:
    return simulate_fast(Demand.of(trace, 1.0), kind, policy, SD15, seed, **options)


def fixed(samplers: int) -> Policy:
    return Policy(fewest=samplers, most=samplers)


amounts = st.lists(st.tuples(st.floats(0, 1e6), st.floats(0.1, 10)), min_size=1, max_size=12)


@given(amounts, st.floats(0, 1e7))
def test_all_is_shared_and_none_has_more_than_it_wants(teams: list[tuple[float, float]], capacity: float) -> None:
    wanted, weights = (np.array(column) for column in zip(*teams, strict=True))
    given_ = shared(wanted, weights, capacity)
    assert given_.sum() == pytest.approx(min(capacity, wanted.sum()), abs=1e-3)
    assert (given_ <= wanted + 1e-6).all()
    assert (given_ >= 0).all()


@given(amounts, st.floats(0, 1e7))
def test_who_wants_more_has_as_much_by_weight_as_anybody(teams: list[tuple[float, float]], capacity: float) -> None:
    wanted, weights = (np.array(column) for column in zip(*teams, strict=True))
    given_ = shared(wanted, weights, capacity)
    hungry = given_ < wanted * (1 - 1e-9) - 1e-6
    if hungry.any():
        assert given_[hungry] / weights[hungry] == pytest.approx((given_ / weights).max(), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("load", [0.5, 1.5])
def test_every_job_is_counted_once(easy: Gpu, load: float) -> None:
    trace = requests(easy, 3, load)
    outcome = run(trace, easy, fixed(3))
    assert outcome.everyone.count == pytest.approx(len(trace))
    for tenant, waits in outcome.waits.items():
        assert waits.count == pytest.approx(sum(one.tenant == tenant for one in trace))


def test_no_job_is_done_sooner_than_alone(easy: Gpu) -> None:
    trace = requests(easy, 3, 0.4)
    outcome = run(trace, easy, fixed(30))
    alone = simulate_exactly([Request(0.0, "a", Shape(steps=8, guidance=1.0))], easy, fixed(1), SD15).everyone.mean
    assert outcome.everyone.seconds[0] >= 0.98 * alone


@pytest.mark.parametrize("load", [0.7, 1.1])
def test_more_gpus_are_never_worse(easy: Gpu, load: float) -> None:
    trace = requests(easy, 2, load)
    fleets = [run(trace, easy, fixed(count)).everyone for count in (2, 3, 4, 8, 64)]
    for fewer, more in pairwise(fleets):
        assert more.mean <= fewer.mean
        assert more.percentile(0.99) <= fewer.percentile(0.99)


def test_equal_seeds_are_equal_to_the_last_digit() -> None:
    kind = gpu(interruptions_per_hour=30.0)
    trace, policy = requests(kind, 3, 0.8), Policy(fewest=1, most=6, spot_share=1.0)
    first, second = (run(trace, kind, policy, seed=1) for _ in range(2))
    assert first.everyone.jobs.tolist() == second.everyone.jobs.tolist()
    assert (first.cost, first.interrupted) == (second.cost, second.interrupted)


def test_spot_machines_that_vanish_lose_no_job_and_cost_time() -> None:
    kind, calm = gpu(interruptions_per_hour=40.0, cold_start_s=20.0), gpu(cold_start_s=20.0)
    trace, policy = requests(kind, 4, 0.8), Policy(fewest=0, most=8, spot_share=1.0)
    lossy, whole = run(trace, kind, policy), run(trace, calm, policy)
    assert lossy.interrupted > 10
    assert whole.interrupted == 0
    assert lossy.everyone.count == pytest.approx(len(trace))
    assert lossy.everyone.mean > whole.everyone.mean


def test_a_fleet_that_never_does_what_is_asked_is_refused(easy: Gpu) -> None:
    demand = Demand(1.0, (("a", ALONE),), np.full((600, 1), 2000.0))
    with pytest.raises(ValueError, match="choose more"):
        simulate_fast(demand, easy, fixed(1), SD15)


def test_bins_longer_than_decisions_are_refused(easy: Gpu) -> None:
    with pytest.raises(ValueError, match="choose shorter bins"):
        simulate_fast(Demand(20.0, (("a", ALONE),), np.ones((3, 1))), easy, fixed(1), SD15)


@pytest.mark.parametrize(
    ("samplers", "load"),
    [(1, 0.3), (1, 0.6), (1, 0.8), (4, 0.3), (4, 0.6), (4, 0.85), (16, 0.3), (16, 0.85), (16, 0.95)],
)
def test_a_fleet_that_keeps_up_is_near_the_events(easy: Gpu, samplers: int, load: float) -> None:
    trace = requests(easy, samplers, load, seconds=2400 / samplers)
    exact, fast = simulate_exactly(trace, easy, fixed(samplers), SD15), run(trace, easy, fixed(samplers))
    assert fast.everyone.mean == pytest.approx(exact.everyone.mean, rel=0.30)
    assert fast.everyone.percentile(0.99) == pytest.approx(exact.everyone.percentile(0.99), rel=0.30)
    assert fast.cost == pytest.approx(exact.cost, rel=0.03)


@pytest.mark.parametrize("samplers", [1, 4, 16])
def test_a_fleet_that_does_not_is_near_them_too(easy: Gpu, samplers: int) -> None:
    trace = requests(easy, samplers, 1.5, seconds=1200 / samplers)
    exact, fast = simulate_exactly(trace, easy, fixed(samplers), SD15), run(trace, easy, fixed(samplers))
    assert fast.seconds == pytest.approx(exact.seconds, rel=0.06)
    assert fast.everyone.mean == pytest.approx(exact.everyone.mean, rel=0.20)


@pytest.mark.parametrize("spot_share", [0.0, 0.8])
def test_a_fleet_that_is_scaled_costs_what_it_costs_by_events(spot_share: float) -> None:
    kind = gpu(interruptions_per_hour=1.0)
    trace = Traffic(3 * rate(kind), 3600, swing=0.0, bursts_per_hour=3.0).requests(seed=5)
    policy = Policy(fewest=1, most=16, spot_share=spot_share)
    exact, fast = simulate_exactly(trace, kind, policy, SD15), run(trace, kind, policy)
    assert fast.gpu_hours == pytest.approx(exact.gpu_hours, rel=0.05)
    assert fast.cost == pytest.approx(exact.cost, rel=0.10)
    assert fast.everyone.within(10) == pytest.approx(exact.everyone.within(10), abs=0.05)


def test_teams_share_by_weight_as_they_do_by_events(easy: Gpu) -> None:
    trace = requests(easy, 1, 1.6, seconds=600)
    weights = {"team-0": 1.0, "team-1": 4.0}
    exact = simulate_exactly(trace, easy, fixed(1), SD15, weights=weights)
    fast = run(trace, easy, fixed(1), weights=weights)
    assert fast.waits["team-0"].mean == pytest.approx(exact.waits["team-0"].mean, rel=0.25)
    for outcome in (exact, fast):
        assert outcome.waits["team-1"].mean < outcome.waits["team-0"].mean / 3


@given(st.lists(st.integers(0, 40), min_size=1, max_size=30), st.floats(0, 1))
def test_a_fleet_has_as_many_as_were_asked_for(targets: list[int], share: float) -> None:
    fleet = Fleet(gpu(cold_start_s=15.0), Policy(fewest=0, most=40, spot_share=share))
    for number, target in enumerate(targets):
        fleet.start(10.0 * number)
        fleet.resize(10.0 * number, target)
        assert sum(fleet.paid) == target
        assert fleet.ready <= target
        assert min(*fleet.paid, fleet.steady, fleet.spot) >= 0


def test_a_machine_is_ready_when_its_cold_start_is_over() -> None:
    fleet = Fleet(gpu(cold_start_s=15.0), Policy(fewest=1, most=40))
    fleet.resize(0.0, 4)
    fleet.start(14.0)
    assert fleet.ready == 1
    fleet.start(15.0)
    assert fleet.ready == 4
