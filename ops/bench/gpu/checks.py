"""The gate: no figure counts unless the engine's answers are the reference's and do not depend on neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from controlnet.samplers import ddim
from ops.bench.gpu.engine import Engine
from ops.bench.gpu.lanes import synchronise, tuned
from ops.bench.gpu.naive import predict
from ops.bench.gpu.networks import Image, Networks


@dataclass(frozen=True, slots=True)
class Parity:
    """How far predictions are from those at float32: the worst of some rows.

    Attributes:
        name: What predicted.
        error: Norm of the difference over the norm.
        cosine: Of the angle between them.
        finite: Whether all numbers are.
    """

    name: str
    error: float
    cosine: float
    finite: bool

    def within(self, other: Parity) -> bool:
        """Whether it is about as close as another."""
        return self.finite and self.cosine > 0.99 and self.error <= 1.5 * other.error


def predictions(networks: Networks, images: Sequence[Image]) -> list[Tensor]:
    """By the reference, one image at a time, at its first step: [2,C,h,w] float32 each."""
    with torch.no_grad(), tuned(benchmark=False):
        return [predict(networks, image, image.noise, _first(networks, image)) for image in images]


def steer(networks: Networks, images: Sequence[Image]) -> float:
    """How much the control changes a prediction, relative to it: of a disconnected one nothing."""
    plain = predictions(networks, [replace(image, controls=()) for image in images])
    return min(_error(a, b) for a, b in zip(predictions(networks, images), plain, strict=True))


def compare(name: str, found: Sequence[Tensor], exact: Sequence[Tensor]) -> Parity:
    """Predictions of the same images by two ways."""
    rows = [(a, b) for mine, theirs in zip(found, exact, strict=True) for a, b in zip(mine, theirs, strict=True)]
    return Parity(
        name,
        error=max(_error(a, b) for a, b in rows),
        cosine=min(float(F.cosine_similarity(a.flatten(), b.flatten(), dim=0)) for a, b in rows),
        finite=all(bool(a.isfinite().all()) for a, _ in rows),
    )


def batched(engine: Engine, rows: int, images: Sequence[Image]) -> list[Tensor]:
    """The engine's predictions of as many images as the bucket holds, each at its first step."""
    bucket = engine.buckets[rows]
    with engine.settings():
        engine.step(bucket, [engine.load(bucket, number, image) for number, image in enumerate(images[: rows // 2])])
        synchronise(engine.networks.device)
        return [bucket.prediction[[number, number + bucket.images]].clone() for number in range(bucket.images)]


def independent(engine: Engine, rows: int, images: Sequence[Image]) -> tuple[bool, bool]:
    """Whether an image's step is the same to the bit among any neighbours, and in the bucket's last slot too.

    Neighbours differ in noise, text, hint, guidance and step. Where there is room for none, something else runs
    in between. The first must hold, or images leak into each other; cuDNN does not keep the second.
    """
    image, *others = images
    changed = [replace(other, guidance=3.0) for other in reversed(others)]
    last = engine.buckets[rows].images - 1
    first = _among(engine, rows, image, 0, others)
    _among(engine, rows, others[0], 0, others)
    alike = torch.equal(first, _among(engine, rows, image, 0, changed))
    return alike, torch.equal(first, _among(engine, rows, image, last, changed))


def _among(engine: Engine, rows: int, image: Image, place: int, others: Sequence[Image]) -> Tensor:
    """The image's latent after its second step, in a place of the bucket with others around it."""
    bucket = engine.buckets[rows]
    with engine.settings():
        slots = [
            engine.load(bucket, number, image, 1)
            if number == place
            else engine.load(bucket, number, others[number % len(others)], number % image.steps)
            for number in range(bucket.images)
        ]
        engine.step(bucket, slots)
        synchronise(engine.networks.device)
        return bucket.latents[place].clone()


def _first(networks: Networks, image: Image) -> int:
    return int(ddim(networks.schedule, image.steps).timesteps[0])


def _error(found: Tensor, exact: Tensor) -> float:
    return float((found - exact).norm() / exact.norm())
