"""A job's price, against the price list and against the pipeline that it is of."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from controlnet.architecture import SD15
from controlnet.flops import flops
from controlnet.pipeline import Control
from serve.jobs.cost import acting, cost
from serve.jobs.spec import ControlSpec, JobSpec

CONTROL = ControlSpec("canny", "canny", ("demo/in.png",), {})
PLAIN = JobSpec("a house", "", (7,), steps=20, guidance=7.5, width=512, height=512)
PRICE = flops(SD15, 512, 512)


def test_a_plain_image_costs_what_the_price_list_says():
    assert cost(PLAIN, SD15).gflop == pytest.approx(PRICE.image(20) / 1e9)


def test_a_controlled_image_costs_what_the_price_list_says():
    found = cost(replace(PLAIN, controls=(CONTROL,)), SD15)
    assert found.gflop == pytest.approx(PRICE.image(20, controlled_steps=20) / 1e9, rel=1e-4)  # and its map


def test_images_cost_each_alike():
    one, three = (cost(replace(PLAIN, seeds=seeds, controls=(CONTROL,)), SD15) for seeds in ((1,), (1, 2, 3)))
    assert three.rows == 3 * one.rows == 6
    assert three.step_gflop == pytest.approx(3 * one.step_gflop)
    assert three.gflop == pytest.approx(3 * one.gflop, rel=1e-4)


def test_without_guidance_an_image_is_one_row_at_half_the_steps_work():
    guided, plain = cost(PLAIN, SD15), cost(replace(PLAIN, guidance=1.0), SD15)
    assert (guided.rows, plain.rows) == (2, 1)
    assert plain.step_gflop == guided.step_gflop / 2


def test_a_control_costs_only_inside_its_window():
    whole, half = (cost(replace(PLAIN, controls=(replace(CONTROL, end=end),)), SD15) for end in (1.0, 0.5))
    assert (whole.gflop - half.gflop) * 1e9 == pytest.approx(2 * 10 * PRICE.control)


def test_guess_spares_the_unconditional_rows():
    both, one = (cost(replace(PLAIN, controls=(replace(CONTROL, mode=mode),)), SD15) for mode in ("balanced", "guess"))
    assert (both.gflop - one.gflop) * 1e9 == pytest.approx(20 * PRICE.control)


def test_a_large_picture_costs_more_than_its_pixels():
    small, large = cost(PLAIN, SD15), cost(replace(PLAIN, width=1024, height=1024), SD15)
    assert large.step_gflop / small.step_gflop == pytest.approx(5.8, rel=0.01)


def test_a_map_takes_no_rows_and_little_work():
    found = cost(replace(PLAIN, seeds=(), steps=0, controls=(CONTROL,)), SD15)
    assert (found.rows, found.steps) == (0, 0)
    assert 0 < found.gflop < cost(PLAIN, SD15).gflop / 1000


@pytest.mark.parametrize("window", [(0.0, 1.0), (0.0, 0.5), (0.3, 0.7), (0.25, 0.25), (0.9, 1.0)])
@pytest.mark.parametrize("steps", [1, 3, 7, 20])
def test_a_window_is_the_pipelines(window, steps):
    start, end = window
    of_pipeline = Control("canny", torch.zeros(3, 8, 8), start=start, end=end)
    assert acting(replace(CONTROL, start=start, end=end), steps) == sum(
        of_pipeline.acts(i, steps) for i in range(steps)
    )
