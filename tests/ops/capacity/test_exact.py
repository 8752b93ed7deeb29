"""Invariants of the event simulation: nothing is lost, nothing is done for nothing, and more is never worse."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from controlnet.architecture import SD15
from ops.capacity.exact import Exact, simulate_exactly
from ops.capacity.outcome import Outcome
from ops.capacity.policy import Policy
from ops.capacity.prices import Gpu
from ops.capacity.trace import Request, Shape, price
from tests.ops.capacity.conftest import ALONE, gpu, requests, table

ONE = Policy(fewest=1, most=1)


def run(trace: list[Request], kind: Gpu, policy: Policy = ONE, seed: int = 0, **options: dict[str, float]) -> Outcome:
    return simulate_exactly(trace, kind, policy, SD15, seed, **options)


def test_a_job_alone_takes_what_the_table_says(easy: Gpu) -> None:
    outcome = run([Request(5.0, "a", ALONE)], easy)
    size = table().sizes[0]
    steps = 20 * (size.fixed + size.per_gflop * price(ALONE, SD15).step_gflop)
    assert outcome.everyone.mean == pytest.approx(0.1 + steps + size.image + 0.2)
    assert outcome.seconds == pytest.approx(5.0 + outcome.everyone.mean)


def test_a_controls_network_is_launched_once_a_step_however_many_images_have_one(easy: Gpu) -> None:
    controlled = Shape(n=4, controls=1)
    gflop = price(controlled, SD15).step_gflop
    size = table().sizes[0]
    expected = 20 * (size.fixed + size.per_gflop * gflop + size.control) + 4 * size.image + 0.3
    assert run([Request(0.0, "a", controlled)], easy).everyone.mean == pytest.approx(expected)


def test_images_that_come_together_share_their_steps(easy: Gpu) -> None:
    alone = run([Request(0.0, "a", ALONE)], easy).everyone.mean
    both = run([Request(0.0, "a", ALONE), Request(0.0, "b", ALONE)], easy)
    assert both.everyone.percentile(1.0) < 2 * alone - 0.3


@pytest.mark.parametrize("load", [0.5, 1.5])
def test_every_job_ends_once(easy: Gpu, load: float) -> None:
    trace = requests(easy, 3, load)
    outcome = run(trace, easy, Policy(fewest=3, most=3))
    assert outcome.everyone.count == len(trace)
    assert outcome.images == sum(one.shape.n for one in trace)
    for tenant, waits in outcome.waits.items():
        assert waits.count == sum(one.tenant == tenant for one in trace)


def test_no_gpu_does_more_than_its_table_allows(easy: Gpu) -> None:
    trace = requests(easy, 3, 2.0)
    outcome = run(trace, easy, Policy(fewest=3, most=3))
    work = sum(price(one.shape, SD15).step_gflop * one.shape.steps for one in trace)
    least = table().sizes[0].per_gflop * work + sum(one.shape.n for one in trace) * table().sizes[0].image
    assert least <= 3600 * outcome.gpu_hours
    assert 3600 * outcome.gpu_hours == pytest.approx(3 * outcome.seconds)


@pytest.mark.parametrize("load", [0.7, 1.1])
def test_more_gpus_are_never_worse(easy: Gpu, load: float) -> None:
    trace = requests(easy, 2, load)
    fleets = [run(trace, easy, Policy(fewest=count, most=count)).everyone for count in (2, 4, 8)]
    for fewer, more in pairwise(fleets):
        assert more.mean <= fewer.mean
        assert more.percentile(0.99) <= fewer.percentile(0.99)


def test_a_faster_gpu_is_never_worse(easy: Gpu) -> None:
    trace = requests(easy, 2, 0.9)
    fast = replace(easy, table=table().at_speed(1.5))
    policy = Policy(fewest=2, most=2)
    assert run(trace, fast, policy).everyone.mean < run(trace, easy, policy).everyone.mean


def test_equal_seeds_are_equal_to_the_last_digit() -> None:
    kind = gpu(interruptions_per_hour=30.0)
    trace, policy = requests(kind, 3, 0.8), Policy(fewest=1, most=6, spot_share=1.0)
    first, second, other = (run(trace, kind, policy, seed) for seed in (1, 1, 2))
    assert first.everyone.seconds.tolist() == second.everyone.seconds.tolist()
    assert (first.cost, first.interrupted) == (second.cost, second.interrupted)
    assert first.everyone.seconds.tolist() != other.everyone.seconds.tolist()


def test_spot_machines_that_vanish_lose_no_job() -> None:
    kind = gpu(interruptions_per_hour=40.0, cold_start_s=20.0)
    trace = requests(kind, 4, 0.8)
    outcome = run(trace, kind, Policy(fewest=0, most=8, spot_share=1.0))
    assert outcome.interrupted > 20
    assert outcome.everyone.count == len(trace)
    assert outcome.on_demand_hours == 0


def test_what_vanishes_costs_time_and_is_done_again() -> None:
    kind, calm = gpu(interruptions_per_hour=40.0, cold_start_s=20.0), gpu(cold_start_s=20.0)
    trace, policy = requests(kind, 4, 0.8), Policy(fewest=0, most=8, spot_share=1.0)
    assert run(trace, kind, policy).everyone.mean > run(trace, calm, policy).everyone.mean


def test_a_fleet_starts_from_none_and_pays_for_the_cold_start(easy: Gpu) -> None:
    outcome = run([Request(0.0, "a", ALONE)], easy, Policy(fewest=0, most=2, every_s=10.0))
    assert outcome.everyone.mean == pytest.approx(60.0 + run([Request(0.0, "a", ALONE)], easy).everyone.mean)
    assert outcome.gpu_hours * 3600 == pytest.approx(outcome.seconds)


def test_who_is_given_back_finishes_what_it_has(easy: Gpu) -> None:
    long = Shape(steps=100, n=8)
    trace = [Request(float(i % 3), "a", long) for i in range(12)] + [Request(900.0, "a", ALONE)]
    outcome = run(trace, easy, Policy(fewest=1, most=6, drain_s=10.0, down_after_s=10.0, window_s=10.0))
    assert outcome.paid.max() > 1
    assert outcome.paid[-1] == 1
    assert outcome.everyone.count == len(trace)
    assert outcome.interrupted == 0


def test_a_light_team_does_not_wait_behind_a_heavy_one(easy: Gpu) -> None:
    heavy = requests(easy, 1, 1.8, seconds=300)
    light = [Request(10.0 * i, "light", ALONE) for i in range(30)]
    trace = sorted([*(replace(one, tenant="heavy") for one in heavy), *light], key=lambda one: one.at)
    outcome = run(trace, easy)
    assert outcome.waits["light"].percentile(0.99) < outcome.waits["heavy"].percentile(0.5)


def test_a_job_that_is_tried_again_comes_at_its_old_place(easy: Gpu) -> None:
    trace = [Request(0.1 * i, "a", ALONE) for i in range(40)]
    exact = Exact(trace, easy, ONE, SD15)
    for number, one in enumerate(trace):
        exact.clock.now = one.at
        exact._arrive(number)
    exact._add(spot=True, cold=False)
    exact._claim()
    claimed = list(exact.line.running)
    exact._again(claimed)
    assert list(exact.line.running) == claimed


def test_two_sizes_take_turns(easy: Gpu) -> None:
    small, large = ALONE, Shape(768, 512, controls=0)
    alone = run([Request(0.0, "a", small)], easy).everyone.mean
    beside = run([Request(0.0, "a", small), Request(0.0, "b", large)], easy).waits["a"].mean
    assert beside > 1.9 * alone - 1.0
    assert beside > run([Request(0.0, "a", small), Request(0.0, "b", small)], easy).waits["a"].mean
