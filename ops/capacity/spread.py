"""How jobs lie in a fleet: not evenly, since each goes to the one of two samplers that has fewer.

For a fleet of many samplers there is a steady state without simulating any (Mitzenmacher, "The power of two choices in
randomized load balancing", 2001): with `s[k]` the share of samplers that hold k jobs or more, those that come to hold
their k-th are as many as those that stop to, `a (s[k-1]^2 - s[k]^2) = rate(k) (s[k] - s[k+1])`, where `a` jobs a
second come for each sampler. From the average number of jobs follows how many the fleet ends, and what company a job
has.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ops.capacity.mix import Mix
from ops.capacity.trace import Floats

LOADS = np.concatenate([np.linspace(0.01, 0.9, 60), 1 - np.geomspace(0.095, 0.0005, 40)])
"""Of the rate in full batches."""

CUTS = np.array([0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.975, 0.995, 1.0])
"""Into which shares jobs are divided by their company."""

_LEAST = 1e-290


class Spread:
    """Of a fleet of one sampler, or of many.

    Args:
        mix: Of jobs.
        many: Whether jobs have two samplers to choose from.
    """

    def __init__(self, mix: Mix, many: bool) -> None:
        self.shares = np.diff(CUTS)
        rates = np.maximum.accumulate([mix.rate(jobs) for jobs in range(mix.deepest + 1)])
        if many:
            levels = [_levels(load * rates[-1], rates) for load in LOADS]
        else:
            levels = [_even(jobs, mix.deepest) for jobs in np.linspace(0.05, mix.deepest, 200)]
        self.jobs = np.array([float(shares @ np.arange(len(shares))) for shares in levels])
        self._rates = np.array([float(shares @ rates) for shares in levels])
        self._beside = np.array([_company(shares) for shares in levels])

    def rate(self, jobs: float) -> float:
        """Jobs a second of each sampler, where there are so many for each on average."""
        if jobs < self.jobs[0]:
            return float(self._rates[0] * jobs / self.jobs[0])
        return float(np.interp(jobs, self.jobs, self._rates))

    def beside(self, jobs: Floats) -> Floats:
        """How many others a job has beside it: [levels, bins], each level a share of the jobs."""
        return np.array([np.interp(jobs, self.jobs, level) for level in self._beside.T])


def _levels(arriving: float, rates: Floats) -> Floats:
    """Shares of the samplers that hold 0, 1, 2 ... jobs."""
    deepest = next(k for k in range(len(rates) - 1, 0, -1) if k == 1 or _up(_LEAST, arriving, rates[: k + 1])[0] < 1)
    low, high = np.log(_LEAST), 0.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _up(np.exp(middle), arriving, rates[: deepest + 1])[0] < 1 else (low, middle)
    reached = np.minimum(1.0, _up(np.exp(low), arriving, rates[: deepest + 1]))
    reached[0] = 1.0
    shares = np.zeros(len(rates))
    shares[: deepest + 1] = reached - np.append(reached[1:], 0.0)
    return shares


def _up(last: float, arriving: float, rates: Floats) -> Floats:
    """`s` from that of the most jobs upwards."""
    reached = [0.0, float(last)]
    for rate in rates[:0:-1]:
        reached.append(float(np.sqrt(reached[-1] ** 2 + rate * (reached[-1] - reached[-2]) / arriving)))
    return np.array(reached[:0:-1])


def _even(jobs: float, deepest: int) -> Floats:
    """One sampler: it has what there is."""
    shares = np.zeros(deepest + 1)
    below = min(int(jobs), deepest - 1)
    shares[below], shares[below + 1] = 1 - (jobs - below), jobs - below
    return shares


def _company(shares: Sequence[float] | Floats) -> Floats:
    """Others beside a job, for each of `CUTS`' shares of the jobs, those with least company first."""
    held = np.arange(len(shares))
    jobs = held * np.asarray(shares)
    upto = np.concatenate([[0.0], np.cumsum(jobs / jobs.sum())])
    total = np.concatenate([[0.0], np.cumsum(jobs / jobs.sum() * np.maximum(0, held - 1))])
    return np.asarray(np.diff(np.interp(CUTS, upto, total)) / np.diff(CUTS))
