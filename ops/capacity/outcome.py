"""What a simulation came to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ops.capacity.prices import Gpu
from ops.capacity.trace import Floats


@dataclass(frozen=True, eq=False)
class Waits:
    """Seconds from jobs' coming to their end, and how many jobs had each.

    Attributes:
        seconds: Ascending.
        jobs: Of each; fractions where jobs were counted by shares.
    """

    seconds: Floats
    jobs: Floats

    @classmethod
    def of(cls, seconds: Sequence[float] | Floats, jobs: Sequence[float] | Floats | None = None) -> Waits:
        """In any order."""
        values = np.asarray(seconds, dtype=float)
        weights = np.ones_like(values) if jobs is None else np.asarray(jobs, dtype=float)
        order = np.argsort(values, kind="stable")
        return cls(values[order], weights[order])

    @classmethod
    def all(cls, parts: Sequence[Waits]) -> Waits:
        """Of several together."""
        return cls.of(np.concatenate([p.seconds for p in parts]), np.concatenate([p.jobs for p in parts]))

    @property
    def count(self) -> float:
        """Jobs."""
        return float(self.jobs.sum())

    @property
    def mean(self) -> float:
        """Seconds."""
        return float(self.seconds @ self.jobs) / self.count

    def percentile(self, share: float) -> float:
        """Seconds within which `share` (0 .. 1) of the jobs ended."""
        upto = np.cumsum(self.jobs)
        return float(self.seconds[min(np.searchsorted(upto, share * upto[-1] * (1 - 1e-12)), len(upto) - 1)])

    def within(self, seconds: float) -> float:
        """The share of jobs that ended in time."""
        return float(self.jobs[: np.searchsorted(self.seconds, seconds, side="right")].sum()) / self.count


@dataclass(frozen=True, eq=False)
class Outcome:
    """All of one simulation.

    Attributes:
        gpu: The kind.
        waits: By tenant.
        images: That were made.
        seconds: From the start to the last job's end.
        times: When GPUs were counted.
        paid: GPUs at those times, those that start or drain included.
        ready: Those that work.
        on_demand_hours: Paid.
        spot_hours: Paid.
        interrupted: Attempts that a spot machine took with it; each of these jobs was run again.
    """

    gpu: Gpu
    waits: Mapping[str, Waits]
    images: float
    seconds: float
    times: Floats
    paid: Floats
    ready: Floats
    on_demand_hours: float
    spot_hours: float
    interrupted: float
    everyone: Waits = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "everyone", Waits.all(list(self.waits.values())))

    @property
    def gpu_hours(self) -> float:
        """Paid."""
        return self.on_demand_hours + self.spot_hours

    @property
    def cost(self) -> float:
        """In the price list's currency."""
        return self.on_demand_hours * self.gpu.price + self.spot_hours * self.gpu.spot_price

    @property
    def cost_per_1000(self) -> float:
        """Of 1,000 images."""
        return 1000 * self.cost / self.images

    @property
    def images_per_s(self) -> float:
        """From the start to the end."""
        return self.images / self.seconds
