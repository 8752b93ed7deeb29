from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from controlnet.architecture import SD15
from ops.capacity.exact import simulate_exactly
from ops.capacity.mix import Mix
from ops.capacity.policy import Policy
from ops.capacity.prices import Gpu
from ops.capacity.spread import CUTS, Spread
from ops.capacity.trace import Request, Shape
from ops.capacity.traffic import SHAPES
from tests.ops.capacity.conftest import ALONE, table


@pytest.mark.parametrize("shape", [shape for shape, _ in SHAPES], ids=str)
def test_a_job_alone_stays_as_long_as_by_events(easy: Gpu, shape: Shape) -> None:
    exact = simulate_exactly([Request(0.0, "a", shape)], easy, Policy(), SD15).everyone.mean
    around = table().before_s + table().after_s
    assert around + Mix(easy, SHAPES, SD15).stay_s(shape, 0) == pytest.approx(exact)


def test_a_full_sampler_of_equal_jobs_does_what_its_batches_do(easy: Gpu) -> None:
    trace = [Request(0.0, "a", ALONE) for _ in range(200)]
    seconds = simulate_exactly(trace, easy, Policy(), SD15).seconds
    mix = Mix(easy, ((ALONE, 1.0),), SD15)
    assert mix.rate(round(mix.jobs)) == pytest.approx(200 / seconds, rel=0.05)


def test_company_makes_rounds_longer(easy: Gpu) -> None:
    mix = Mix(easy, SHAPES, SD15)
    rounds = [mix.round_s(beside, Shape()) for beside in range(10)]
    assert rounds == sorted(rounds)
    assert rounds[0] < rounds[5]


def test_a_job_of_more_images_than_a_batch_holds_takes_turns(easy: Gpu) -> None:
    mix = Mix(replace(easy, max_rows=4), ((Shape(n=8, controls=0), 1.0),), SD15)
    assert mix.stay_s(Shape(n=8, controls=0), 0) > 4 * 20 * mix.round_s(0, Shape(n=8, controls=0))


@pytest.mark.parametrize("many", [False, True])
def test_a_fleet_with_more_jobs_ends_more_and_has_more_company(easy: Gpu, many: bool) -> None:
    spread = Spread(Mix(easy, SHAPES, SD15), many)
    jobs = np.linspace(0.1, 8, 30)
    rates = [spread.rate(one) for one in jobs]
    company = np.diff(CUTS) @ spread.beside(jobs)
    assert (np.diff(rates) >= -1e-9).all()
    assert (np.diff(company) >= -1e-9).all()
    assert rates[-1] > 1.2 * rates[5]
    assert company[-1] > 4


def test_two_to_choose_from_leave_jobs_less_company_than_chance_would(easy: Gpu) -> None:
    """Spread by chance alone, a job would have as many others beside it as a sampler has on average."""
    spread = Spread(Mix(easy, SHAPES, SD15), many=True)
    assert np.diff(CUTS) @ spread.beside(np.array([1.0])) < 1.0


def test_one_sampler_has_what_there_is(easy: Gpu) -> None:
    mix = Mix(easy, SHAPES, SD15)
    spread = Spread(mix, many=False)
    assert spread.rate(3.0) == pytest.approx(mix.rate(3), rel=0.05)
    assert np.diff(CUTS) @ spread.beside(np.array([3.0])) == pytest.approx(2.0, abs=0.05)
