"""What is put into simulated jobs comes out of the fit."""

from __future__ import annotations

import math

import numpy as np
import pytest

from controlnet.bundle import DEMO, Bundle
from ops.bench.figure import Figure
from ops.capacity.calibration import ONE, fitted, gpu_of, nonnegative, root, simulated, slowed, sweep
from ops.capacity.exact import simulate_exactly
from ops.capacity.local import Done, mean_s, throughput
from ops.capacity.prediction import Comparison, calibration_load, figures, other_load
from ops.capacity.table import CostTable, SizeCost
from ops.capacity.trace import Request, Shape

ARCHITECTURE = Bundle.open(DEMO).manifest.architecture
TRUTH = CostTable(
    name="truth",
    basis="measured",
    source="a test",
    sizes=(
        SizeCost(width=64, height=64, fixed=0.02, per_gflop=0.004, control=0.003, image=0.006),
        SizeCost(width=128, height=128, fixed=0.03, per_gflop=0.003, control=0.005, image=0.02),
    ),
    before_s=0.02,
    after_s=0.03,
)


def done(shape: Shape, table: CostTable = TRUTH) -> Done:
    seconds = simulate_exactly([Request(0.0, "a", shape)], gpu_of(table), ONE, ARCHITECTURE).everyone.mean
    timings = {"sampling": seconds - table.before_s - table.after_s, "publishing": table.after_s}
    return Done(Request(0.0, "a", shape), seconds, timings)


def test_the_table_that_made_the_jobs_is_found_again() -> None:
    found = fitted([done(shape) for shape in sweep(rounds=1)], ARCHITECTURE)
    assert found.before_s == pytest.approx(TRUTH.before_s)
    assert found.after_s == pytest.approx(TRUTH.after_s)
    for size, true in zip(found.sizes, TRUTH.sizes, strict=True):
        assert size.model_dump() == pytest.approx(true.model_dump())


def test_noise_of_a_few_percent_makes_an_error_of_a_few_percent() -> None:
    luck = np.random.default_rng(1)
    noisy = []
    for shape in sweep(rounds=3):
        one, by = done(shape), float(luck.normal(1, 0.03))
        noisy.append(Done(one.request, by * one.seconds, {name: by * s for name, s in one.timings.items()}))
    found = fitted(noisy, ARCHITECTURE)
    for shape in sweep(rounds=1):
        assert done(shape, found).seconds == pytest.approx(done(shape).seconds, rel=0.05)


def test_no_answer_is_negative_where_the_best_one_would_be() -> None:
    x = np.linspace(1, 5, 9)
    found = nonnegative(np.stack([x, np.ones_like(x)], axis=1), 2 * x - 0.5)
    assert (found >= 0).all()
    assert found[1] == 0


def test_how_much_slower_a_load_was_is_found() -> None:
    slow = TRUTH.at_speed(1 / 1.4)
    requests = calibration_load(TRUTH, ARCHITECTURE, seconds=30)
    mean = simulate_exactly(requests, gpu_of(slow), ONE, ARCHITECTURE).everyone.mean
    load = [Done(one, mean, {}) for one in requests]
    found, factor = slowed(TRUTH, load, ARCHITECTURE)
    assert factor == pytest.approx(1.4, rel=0.01)
    assert simulated(found, load, ARCHITECTURE).everyone.mean == pytest.approx(mean, rel=0.01)
    assert "1.40" in found.source


def test_where_a_function_is_zero() -> None:
    assert root(lambda x: math.log(x), 0.3, 4.0) == pytest.approx(1.0, rel=1e-4)
    assert root(lambda x: -1.0, 0.3, 4.0) == pytest.approx(4.0, rel=1e-4)


def test_the_loads_differ_and_begin_at_once() -> None:
    one, other = (load(TRUTH, ARCHITECTURE, 30) for load in (calibration_load, lambda *a: other_load(*a, seed=1)))
    assert one[0].at == other[0].at == 0
    assert not {request.shape for request in one} & {request.shape for request in other}
    assert {request.shape.width for request in other} == {64, 128}
    assert other_load(TRUTH, ARCHITECTURE, 30, seed=1) != other_load(TRUTH, ARCHITECTURE, 30, seed=2)


def test_a_load_has_the_throughput_of_its_images_until_the_last_end() -> None:
    load = [Done(Request(0.0, "a", Shape(n=3)), 4.0, {}), Done(Request(2.0, "a", Shape()), 6.0, {})]
    assert throughput(load) == 0.5
    assert mean_s(load) == 5.0


def test_the_median_of_the_errors_decides() -> None:
    runs = [Comparison(10, 2.0, 2.0 * (1 + off), 1.0, 1.0 - off) for off in (0.01, -0.1, 0.9)]
    rate, latency, table = figures(runs)
    assert isinstance(rate, Figure)
    assert isinstance(latency, Figure)
    assert rate.value == pytest.approx(0.1)
    assert latency.value == pytest.approx(0.1)
    assert rate.met
    assert not isinstance(table, Figure)
    assert [row[-1] for row in table.rows] == ["-1.0%", "+10.0%", "-90.0%"]
    assert figures([runs[2]])[0].met is False  # type: ignore[union-attr]
