"""A kind of GPU whose numbers are easy, and traces for it."""

from __future__ import annotations

import math

import pytest

from controlnet.architecture import SD15
from ops.capacity.mix import Mix
from ops.capacity.prices import Gpu
from ops.capacity.table import CostTable, SizeCost
from ops.capacity.trace import Request, Shape
from ops.capacity.traffic import SHAPES, Traffic

ALONE = Shape(controls=0)


def table() -> CostTable:
    size = SizeCost(width=512, height=512, fixed=0.02, per_gflop=1e-5, control=0.004, image=0.05)
    return CostTable(name="easy", basis="assumed", source="a test", sizes=(size,), before_s=0.1, after_s=0.2)


def gpu(**changes: float) -> Gpu:
    numbers = {"price": 2.0, "spot_price": 0.5, "interruptions_per_hour": 0.0, "cold_start_s": 60.0} | changes
    return Gpu("easy", max_rows=16, table=table(), **numbers)


def rate(kind: Gpu) -> float:
    """Jobs of the usual mix a second, in full batches."""
    mix = Mix(kind, SHAPES, SD15)
    return mix.rate(math.ceil(mix.jobs))


def requests(kind: Gpu, samplers: float, load: float, seconds: float = 600.0, seed: int = 1) -> list[Request]:
    return Traffic(load * samplers * rate(kind), seconds, swing=0.0).requests(seed)


@pytest.fixture
def easy() -> Gpu:
    return gpu()
