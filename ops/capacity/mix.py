"""What the scheduler's batches come to on average: how long a round takes, which steps every image once.

A sampler that holds k images gives each picture size its turn (`serve.engine.scheduler`), so one round is a step for
each size that is there, padded up to its bucket, and every image moves on by one step. How many of the k are of which
size is a matter of chance: binomial, by the share of all image-steps that a size has.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

from controlnet.architecture import Architecture
from ops.capacity.prices import Gpu
from ops.capacity.table import SizeCost
from ops.capacity.trace import Floats, Shape, price

Shares = Sequence[tuple[Shape, float]]


@dataclass(frozen=True, slots=True)
class Line:
    """The images of one size, on average.

    Attributes:
        share: Of all image-steps.
        rows: Of an image.
        gflop: Of an image's step.
        controlled: Share of the images that have a control.
    """

    size: SizeCost
    share: float
    rows: float
    gflop: float
    controlled: float


class Mix:
    """A mix of jobs on one kind of GPU.

    Args:
        gpu: With its table.
        shares: Of jobs, by shape.
        architecture: Prices them.
    """

    def __init__(self, gpu: Gpu, shares: Shares, architecture: Architecture) -> None:
        self.gpu = gpu
        weights = np.array([share for _, share in shares])
        weights = weights / weights.sum()
        shapes = [shape for shape, _ in shares]
        images = np.array([shape.n for shape in shapes])
        steps = np.array([shape.steps for shape in shapes])
        gflop = np.array([price(shape, architecture).gflop for shape in shapes])
        self.images_per_job = float(weights @ images)
        self.gflop_per_job = float(weights @ gflop)
        self.steps_per_image = float(weights @ (images * steps)) / self.images_per_job
        self.rows_per_image = float(weights @ (images * [shape.rows for shape in shapes])) / self.images_per_job
        self._image_s = float(
            weights @ [one.n * gpu.table.size(one.width, one.height).image for one in shapes] / self.images_per_job
        )
        self._lines = _lines(gpu, shapes, weights * images * steps, architecture)
        self._same = {(line.size.width, line.size.height): line.share for line in self._lines}
        resident = weights * steps  # of the jobs that are there at a moment: long ones are there for longer
        # A full sampler has a seat for a job's next image when one comes free: jobs of many are there for longer yet.
        last = np.array([(min(one.n, seats(one, gpu)) - 1) / seats(one, gpu) for one in shapes]) * self.steps_per_image
        full = weights * (steps * [turns(one, gpu) for one in shapes] + last)
        rows = float(full @ (images * [shape.rows for shape in shapes]) / full.sum())
        self.jobs = max(1.0, gpu.claimed_rows / rows)
        sizes = images * [shape.rows for shape in shapes]
        # The last job that is claimed may need more rows than are left: half of one that was met by chance, on average.
        self.over = max(0.0, float(weights @ sizes**2 / (weights @ sizes) - 1) / 2) / rows
        self._sizes = np.zeros(max(images) + 1)
        np.add.at(self._sizes, images, resident / resident.sum())
        self.deepest = 3 * math.ceil(self.jobs) + 3
        held = self.deepest * max(images)
        tables = [self._round(k) for k in range(min(held, 4 * gpu.max_rows) + 1)]
        self._rounds = np.array([seconds for seconds, _ in tables])
        self._seated = np.array([moving / max(1, k) for k, (_, moving) in enumerate(tables)])
        self._shares = list(zip(shapes, weights.tolist(), strict=True))
        self._own = {shape: self._alone(shape, architecture) for shape in shapes}
        self._chances = [np.ones(1)]
        for _ in range(self.deepest):
            self._chances.append(np.convolve(self._chances[-1], self._sizes))

    def rate(self, jobs: int) -> float:
        """Jobs a second of a sampler that holds so many, each with as many images as chance has it."""
        if not jobs:
            return 0.0
        stays = [share * self.stay_s(shape, jobs - 1) for shape, share in self._shares]
        return float(jobs * self._mean(self._seated, jobs, 0) / sum(stays))

    def stay_s(self, shape: Shape, beside: int) -> float:
        """Seconds of a job on a sampler, with so many others all the time, all seated.

        It comes in the middle of a round where there are others, and has its pictures decoded at the end.
        """
        size = self.gpu.table.size(shape.width, shape.height)
        rounds = turns(shape, self.gpu) * shape.steps + 0.5 * (beside > 0)
        return rounds * self.round_s(beside, shape) + shape.n * size.image

    def round_s(self, beside: int, shape: Shape) -> float:
        """Seconds in which each image of a job has one step on a sampler with so many other jobs, decoding included."""
        images = min(shape.n, seats(shape, self.gpu))
        return float(
            max(self._own[shape], self._mean(self._rounds, beside, images) + self._own[shape] - self._rounds[images])
        )

    def seated_after(self, beside: int, shape: Shape) -> float:
        """Rounds until the last image of a job has a seat, on a sampler with so many other jobs.

        Seats come free one by one, all of them in as many rounds as an image has steps.
        """
        most = seats(shape, self.gpu)
        chances = self._chances[beside]
        others = np.arange(len(chances)) * self._same.get((shape.width, shape.height), 1.0)
        without = np.clip(others + min(shape.n, most) - most, 0, None)
        return float(chances @ without) * self.steps_per_image / most

    def _mean(self, table: Floats, jobs: int, more: int) -> float:
        chances = self._chances[jobs]
        found = table[np.minimum(np.arange(len(chances)) + more, len(table) - 1)]
        return float(chances @ found)

    def _alone(self, shape: Shape, architecture: Architecture) -> float:
        """Seconds of a step of a job that has a sampler to itself."""
        images = min(shape.n, seats(shape, self.gpu))
        gflop = price(shape, architecture).step_gflop / shape.n
        size = self.gpu.table.size(shape.width, shape.height)
        return self._step_s(Line(size, 1.0, shape.rows, gflop, float(shape.controls > 0)), images)

    def _round(self, held: int) -> tuple[float, float]:
        """Seconds, and how many of the images are moved by it: the others have no seat."""
        seconds = moving = 0.0
        for line in self._lines:
            most = max(1, int(self.gpu.max_rows / line.rows))
            for images in range(1, held + 1):
                chance = comb(held, images) * line.share**images * (1 - line.share) ** (held - images)
                seated = min(images, most)
                seconds += chance * self._step_s(line, seated)
                moving += chance * seated
        return seconds + moving / self.steps_per_image * self._image_s, moving

    def _step_s(self, line: Line, images: int) -> float:
        rows = images * line.rows
        bucket = next((one for one in self.gpu.buckets if one >= rows - 1e-9), self.gpu.buckets[-1])
        controlled = 1 - (1 - line.controlled) ** images
        work = images * line.gflop * max(1.0, bucket / rows)
        return line.size.step_s(work, controlled)


def seats(shape: Shape, gpu: Gpu) -> int:
    """Images of a shape that a batch holds."""
    return max(1, gpu.max_rows // shape.rows)


def turns(shape: Shape, gpu: Gpu) -> int:
    """Batches that the images of a job take one after the other, where it is alone."""
    return math.ceil(shape.n / seats(shape, gpu))


def full_rate(mix: Mix) -> float:
    """GFLOP a second of one sampler in full batches."""
    return mix.rate(math.ceil(mix.jobs)) * mix.gflop_per_job


def _lines(gpu: Gpu, shapes: Sequence[Shape], image_steps: Floats, architecture: Architecture) -> list[Line]:
    """By size; `image_steps` is how many of them each shape has."""
    lines = []
    for width, height in dict.fromkeys((shape.width, shape.height) for shape in shapes):
        members = [
            (shape, steps)
            for shape, steps in zip(shapes, image_steps, strict=True)
            if (shape.width, shape.height) == (width, height)
        ]
        weights = np.array([steps for _, steps in members])
        share, weights = weights.sum() / image_steps.sum(), weights / weights.sum()
        lines.append(
            Line(
                size=gpu.table.size(width, height),
                share=float(share),
                rows=float(weights @ [shape.rows for shape, _ in members]),
                gflop=float(weights @ [price(shape, architecture).step_gflop / shape.n for shape, _ in members]),
                controlled=float(weights @ [shape.controls > 0 for shape, _ in members]),
            )
        )
    return lines
