"""What a shape costs, by the prices that the platform itself admits and shares by."""

from __future__ import annotations

from functools import lru_cache

from controlnet.bundle import DEMO, Bundle
from ops.load.trace import GUIDANCE, Mix, Shape
from serve.jobs.cost import cost
from serve.jobs.spec import ControlSpec, JobSpec


@lru_cache
def gflop(shape: Shape) -> float:
    """Of all images of a request, for the shipped model; another one's prices are others, in nearly the same ratios."""
    annotator = {"none": None, "canny": "canny", "map": "none"}[shape.steering]
    controls = () if annotator is None else (ControlSpec("canny", annotator, ("picture",), {}),)
    spec = JobSpec("", "", tuple(range(shape.n)), shape.steps, GUIDANCE, shape.side, shape.side, controls=controls)
    return cost(spec, Bundle.open(DEMO).manifest.architecture).gflop


def mean_gflop(mix: Mix) -> float:
    """Of one request of a mix."""
    shapes = list(mix.shapes())
    return sum(share * gflop(shape) for shape, share in shapes) / sum(share for _, share in shapes)
