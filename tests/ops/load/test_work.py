from __future__ import annotations

from dataclasses import replace
from itertools import repeat
from statistics import mean

import pytest

from ops.load.trace import MIX, Shape, synthesize
from ops.load.work import gflop, mean_gflop

SHAPE = Shape("none", 1, 10, 64)


@pytest.mark.parametrize("more", [{"steering": "canny"}, {"steering": "map"}, {"n": 2}, {"steps": 20}, {"side": 96}])
def test_more_costs_more(more: dict[str, object]) -> None:
    assert gflop(replace(SHAPE, **more)) > gflop(SHAPE)  # type: ignore[arg-type]


def test_two_images_cost_twice_one() -> None:
    assert gflop(replace(SHAPE, n=2)) == pytest.approx(2 * gflop(SHAPE))


def test_the_mean_of_a_mix_is_what_its_traces_come_to() -> None:
    trace = synthesize(MIX, repeat(0.0, 20_000), seed=1)
    assert mean(gflop(one.shape) for one in trace) == pytest.approx(mean_gflop(MIX), rel=0.02)
