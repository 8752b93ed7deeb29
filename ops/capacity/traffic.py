"""Synthetic traces: a day's curve, bursts, and teams of unlike size. Every share here is assumed, none was observed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ops.capacity.trace import Demand, Floats, Request, Shape

DAY_S = 24 * 3600.0

SHAPES: tuple[tuple[Shape, float], ...] = (
    (Shape(steps=20), 0.40),
    (Shape(steps=30), 0.20),
    (Shape(steps=20, n=4), 0.10),
    (Shape(steps=20, controls=0), 0.10),
    (Shape(steps=8, guidance=1.0), 0.10),
    (Shape(width=768, height=512, steps=30), 0.07),
    (Shape(steps=50, controls=2), 0.03),
)
"""Jobs at SD 1.5's size, and how much of all they are. Assumed."""

TENANTS: tuple[tuple[str, float], ...] = tuple((f"team-{i}", 1 / (i + 1)) for i in range(8))
"""Eight teams, the i-th with 1/i of the first one's jobs. Assumed."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Jobs that come at random, at a rate that changes.

    Attributes:
        jobs_per_s: The mean, without bursts.
        seconds: How long.
        swing: How far the day's curve goes above and below the mean: 0 .. 1. Its deepest point is at the start.
        bursts_per_hour: On average.
        burst: The rate in a burst, in times of that beside it.
        burst_s: How long one lasts.
        shapes: Each with its share.
        tenants: Likewise.
    """

    jobs_per_s: float
    seconds: float = DAY_S
    swing: float = 0.6
    bursts_per_hour: float = 0.0
    burst: float = 3.0
    burst_s: float = 120.0
    shapes: tuple[tuple[Shape, float], ...] = SHAPES
    tenants: tuple[tuple[str, float], ...] = TENANTS

    def rates(self, bin_s: float, luck: np.random.Generator) -> Floats:
        """Jobs a second in each bin."""
        bins = math.ceil(self.seconds / bin_s)
        middle = (np.arange(bins) + 0.5) * bin_s
        rates = self.jobs_per_s * (1 - self.swing * np.cos(2 * np.pi * middle / DAY_S))
        starts = luck.uniform(0, self.seconds, luck.poisson(self.bursts_per_hour * self.seconds / 3600))
        bursting = ((middle >= starts[:, None]) & (middle < starts[:, None] + self.burst_s)).any(axis=0)
        return np.asarray(np.where(bursting, self.burst, 1.0) * rates)

    def demand(self, bin_s: float, seed: int) -> Demand:
        """Counts, drawn by chance: what a day of any size fits into."""
        luck = np.random.default_rng(seed)
        rates = self.rates(bin_s, luck)
        pairs = [(tenant, shape, a * b) for tenant, a in self.tenants for shape, b in self.shapes]
        shares = np.array([share for _, _, share in pairs])
        means = np.outer(rates * bin_s, shares / shares.sum())
        return Demand(bin_s, tuple((tenant, shape) for tenant, shape, _ in pairs), luck.poisson(means).astype(float))

    def requests(self, seed: int, bin_s: float = 10.0) -> list[Request]:
        """The same as a list: the jobs of `demand`, each at a moment of its bin."""
        demand = self.demand(bin_s, seed)
        luck = np.random.default_rng([seed, 1])
        requests = []
        for (tenant, shape), counts in zip(demand.classes, demand.jobs.T, strict=True):
            bins = np.repeat(np.arange(len(counts)), counts.astype(int))
            requests += [Request(float(at), tenant, shape) for at in (bins + luck.random(len(bins))) * bin_s]
        return sorted(requests, key=lambda one: one.at)
