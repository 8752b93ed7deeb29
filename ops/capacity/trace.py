"""What is asked of the platform, and when: a list of requests, or counts a bin where a list would be too long."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from controlnet.architecture import Architecture
from serve.jobs.cost import Cost, cost
from serve.jobs.spec import ControlSpec, JobSpec

Floats = npt.NDArray[np.float64]

COLUMNS = ("at", "tenant", "width", "height", "steps", "n", "guidance", "controls")
"""Of a trace's CSV file, in any order."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What decides a job's cost.

    Attributes:
        width: Pixels.
        height: Pixels.
        n: Images.
        guidance: 1 takes one row an image, anything else two.
        controls: That act on every step.
    """

    width: int = 512
    height: int = 512
    steps: int = 20
    n: int = 1
    guidance: float = 7.5
    controls: int = 1

    @property
    def rows(self) -> int:
        """UNet rows of one image."""
        return 1 if self.guidance == 1.0 else 2


@dataclass(frozen=True, slots=True)
class Request:
    """One job of a trace.

    Attributes:
        at: Seconds from the start of the trace.
        tenant: Whose.
        shape: What it costs.
    """

    at: float
    tenant: str
    shape: Shape


@lru_cache(maxsize=4096)
def price(shape: Shape, architecture: Architecture) -> Cost:
    """What the platform takes a job of this shape to cost: `serve.jobs.cost`, nothing of our own."""
    control = ControlSpec("control", "none", ("map",), {})
    spec = JobSpec(
        prompt="",
        negative_prompt="",
        seeds=tuple(range(shape.n)),
        steps=shape.steps,
        guidance=shape.guidance,
        width=shape.width,
        height=shape.height,
        controls=(control,) * shape.controls,
    )
    return cost(spec, architecture)


@dataclass(frozen=True, eq=False)
class Demand:
    """A trace by counts.

    Attributes:
        bin_s: Seconds of a bin.
        classes: Tenant and shape of each column.
        jobs: [bins, classes].
    """

    bin_s: float
    classes: tuple[tuple[str, Shape], ...]
    jobs: Floats

    @classmethod
    def of(cls, requests: Sequence[Request], bin_s: float) -> Self:
        """Count a list."""
        classes = tuple(dict.fromkeys((one.tenant, one.shape) for one in requests))
        number = {one: index for index, one in enumerate(classes)}
        bins = 1 + int(max((one.at for one in requests), default=0.0) // bin_s)
        jobs = np.zeros((bins, len(classes)))
        for one in requests:
            jobs[int(one.at // bin_s), number[one.tenant, one.shape]] += 1
        return cls(bin_s, classes, jobs)

    @property
    def images(self) -> float:
        """Of all jobs."""
        return float(self.jobs.sum(axis=0) @ [shape.n for _, shape in self.classes])

    @property
    def shares(self) -> list[tuple[Shape, float]]:
        """How much of all jobs each shape is."""
        shares: dict[Shape, float] = {}
        for (_, shape), jobs in zip(self.classes, self.jobs.sum(axis=0), strict=True):
            shares[shape] = shares.get(shape, 0.0) + float(jobs)
        total = sum(shares.values())
        return [(shape, jobs / total) for shape, jobs in shares.items() if jobs]


def read(path: Path) -> list[Request]:
    """A trace from a CSV file with a header of `COLUMNS`, sorted by time.

    Raises:
        ValueError: A column is missing, or a value is none; with the line.
    """
    with path.open(newline="") as file:
        rows = csv.DictReader(file)
        if missing := set(COLUMNS) - set(rows.fieldnames or ()):
            raise ValueError(f"{path} lacks {', '.join(sorted(missing))}: a trace has {', '.join(COLUMNS)}")
        requests = []
        for number, row in enumerate(rows, start=2):
            try:
                numbers = {name: int(row[name]) for name in ("width", "height", "steps", "n", "controls")}
                shape = Shape(guidance=float(row["guidance"]), **numbers)
                requests.append(Request(float(row["at"]), row["tenant"], shape))
            except ValueError as why:
                raise ValueError(f"{path}, line {number}: {why}") from None
    return sorted(requests, key=lambda one: one.at)


def write(requests: Iterable[Request], path: Path) -> None:
    """A CSV file that `read` reads."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for one in requests:
            shape = one.shape
            sides = (shape.width, shape.height, shape.steps, shape.n)
            rows.writerow((f"{one.at:.3f}", one.tenant, *sides, shape.guidance, shape.controls))
