"""The same platform in bins of a second: ten thousand GPUs and a day in seconds.

What `ops.capacity.exact` does job by job is an average here. From the number of jobs that the samplers hold follows how
they lie among them (`Spread`), from that how long a round takes (`Mix`), and so how many jobs end in a bin, and after
how many bins a job has had its steps. Teams' lines are claimed by weight: the fair order, where jobs are
so many that none is large. Samplers come and go by the same `Scaler`; spot machines vanish by chance, and what they
held waits again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from controlnet.architecture import Architecture
from ops.capacity.exact import RETRY_S
from ops.capacity.fleet import Fleet
from ops.capacity.mix import Mix, full_rate, turns
from ops.capacity.outcome import Outcome, Waits
from ops.capacity.policy import Load, Policy, Scaler
from ops.capacity.prices import Gpu
from ops.capacity.spread import Spread
from ops.capacity.trace import Demand, Floats, Shape, price

LATENCIES = np.geomspace(1e-3, 1e6, 4000)
"""Seconds by which jobs are counted: half a percent apart."""

LONGEST_AFTER_S = 24 * 3600.0
"""After the last arrival, until a backlog that does not go is given up."""


def shared(wanted: Floats, weights: Floats, capacity: float) -> Floats:
    """What each team is given of `capacity`, by weight: none more than it wants, nothing left while any wants more."""
    if wanted.sum() <= capacity:
        return wanted.copy()
    order = np.argsort(wanted / weights, kind="stable")
    level = (wanted / weights)[order]
    before = np.concatenate([[0.0], np.cumsum(wanted[order])[:-1]])
    beside = np.cumsum(weights[order][::-1])[::-1]
    levels = (capacity - before) / beside  # where all from this team on were cut, at which level?
    return np.asarray(np.minimum(wanted, weights * levels[int(np.argmax(levels < level))]))


@dataclass(eq=False)
class Day:
    """What happened, bin by bin. Work in GFLOP.

    Attributes:
        paid: GPUs on demand, and spot.
        ready: GPUs that work.
        came: Work by team; what vanished with spot machines comes again.
        claimed: Likewise.
        held: Work that samplers hold.
        vanished: Work that was lost, all told.
    """

    paid: list[tuple[int, int]] = field(default_factory=list)
    ready: list[int] = field(default_factory=list)
    came: list[Floats] = field(default_factory=list)
    claimed: list[Floats] = field(default_factory=list)
    held: list[float] = field(default_factory=list)
    vanished: float = 0.0


def simulate_fast(
    demand: Demand,
    gpu: Gpu,
    policy: Policy,
    architecture: Architecture,
    seed: int = 0,
    weights: Mapping[str, float] | None = None,
) -> Outcome:
    """A trace to its end.

    Args:
        demand: In bins that are shorter than what a job takes, or waits get too long.
        gpu: Of all samplers.
        policy: How many there are.
        architecture: Prices the jobs.
        seed: Of interruptions.
        weights: Of tenants; 1 where absent.

    Raises:
        ValueError: The fleet never does what is asked, or decisions come more often than bins.
    """
    if demand.bin_s > policy.every_s:
        raise ValueError(f"bins of {demand.bin_s:g} s, and decisions every {policy.every_s:g} s: choose shorter bins")
    tenants = sorted({tenant for tenant, _ in demand.classes})
    team = np.array([tenants.index(tenant) for tenant, _ in demand.classes])
    gflop = np.array([price(shape, architecture).gflop for _, shape in demand.classes])
    work = np.zeros((len(demand.jobs), len(tenants)))
    np.add.at(work.T, team, (demand.jobs * gflop).T)
    mix = Mix(gpu, demand.shares, architecture)
    spreads = Spread(mix, many=False), Spread(mix, many=True)
    share = np.array([(weights or {}).get(tenant, 1.0) for tenant in tenants])
    day = _serve(work, demand.bin_s, mix, spreads, policy, share, np.random.default_rng(seed))
    hours = demand.bin_s / 3600 * np.array(day.paid).sum(axis=0)
    return Outcome(
        gpu=gpu,
        waits=_waits(demand, day, mix, spreads, tenants, team),
        images=demand.images,
        seconds=len(day.ready) * demand.bin_s,
        times=demand.bin_s * np.arange(len(day.ready), dtype=np.float64),
        paid=np.array(day.paid, dtype=float).sum(axis=1),
        ready=np.array(day.ready, dtype=float),
        on_demand_hours=float(hours[0]),
        spot_hours=float(hours[1]),
        interrupted=day.vanished / mix.gflop_per_job,
    )


def _serve(
    work: Floats,
    bin_s: float,
    mix: Mix,
    spreads: tuple[Spread, Spread],
    policy: Policy,
    share: Floats,
    luck: np.random.Generator,
) -> Day:
    """Every bin: decide, lose, claim, do."""
    gpu, each = mix.gpu, mix.gflop_per_job
    fleet, scaler, day = Fleet(gpu, policy), Scaler(policy), Day()
    window: deque[float] = deque(maxlen=max(1, round(policy.window_s / bin_s)))
    between = max(1, round(policy.every_s / bin_s))
    risk = -np.expm1(-gpu.interruptions_per_hour * bin_s / 3600)
    teams = work.sum(axis=0) / work.sum()
    waiting, held, bins = np.zeros(work.shape[1]), 0.0, len(work)
    full = full_rate(mix)
    nothing = np.zeros(work.shape[1])
    while (number := len(day.ready)) < bins or waiting.sum() > 1e-6 * each or held > 0.5 * each:
        now = number * bin_s
        if now > bins * bin_s + LONGEST_AFTER_S:
            raise ValueError(f"{policy.most} of {gpu.name} never do what is asked: choose more")
        fleet.start(now)
        if number % between == 0:
            jobs = (float(waiting.sum()) + held) / each
            load = Load(sum(window) / policy.window_s, float(waiting.sum()), jobs, full)
            fleet.resize(now, scaler.decide(now, load))
        came = work[number] if number < bins else nothing
        window.append(float(came.sum()))
        if killed := int(luck.binomial(fleet.spot, risk)) if fleet.spot else 0:
            lost = held * killed / fleet.ready
            fleet.spot -= killed
            held -= lost
            day.vanished += lost
            came = came + lost * teams
        waiting = waiting + came
        room = fleet.ready * mix.jobs + mix.over * (fleet.ready > 0)
        claimed = shared(waiting, share, max(0.0, room * each - held))
        waiting = np.maximum(0.0, waiting - claimed)
        held += float(claimed.sum())
        day.paid.append(fleet.paid)
        day.ready.append(fleet.ready)
        day.came.append(came)
        day.claimed.append(claimed)
        day.held.append(held)
        if fleet.ready:
            spread = spreads[fleet.ready > 1]
            held -= min(held, fleet.ready * spread.rate(held / each / fleet.ready) * each * bin_s)
    return day


def _waits(
    demand: Demand, day: Day, mix: Mix, spreads: tuple[Spread, Spread], tenants: list[str], team: Floats
) -> dict[str, Waits]:
    """Of each team: in its line, then as many rounds as a job has steps, as long as rounds were then."""
    bin_s, bins = demand.bin_s, len(demand.jobs)
    ready = np.array(day.ready, dtype=float)
    jobs = np.array(day.held) / mix.gflop_per_job / np.maximum(ready, 1.0)
    alone, many = (spread.beside(jobs) for spread in spreads)
    company = np.where(ready > 1, many, alone)
    starts = []
    for number in range(len(tenants)):
        came = np.cumsum([one[number] for one in day.came])
        claimed = np.concatenate([[0.0], np.cumsum([one[number] for one in day.claimed])])
        # The last job of a bin is claimed in the bin in which as much was; one that is claimed at once did not wait.
        found = np.searchsorted(claimed, came * (1 - 1e-9) - 1e-6) - 1
        starts.append(np.clip(found, np.arange(len(came)), len(ready) - 1)[:bins])
    again = day.vanished / mix.gflop_per_job / demand.jobs.sum()
    at_once, jobs_of = np.arange(bins), np.zeros((len(tenants), len(LATENCIES)))
    late = [np.flatnonzero(start != at_once) for start in starts]  # most of the time nobody waits in any line
    for shape in dict.fromkeys(shape for _, shape in demand.classes):
        columns = [(int(team[c]), demand.jobs[:, c]) for c, (_, one) in enumerate(demand.classes) if one == shape]
        for share, beside in zip(spreads[1].shares, _averaged(company, spreads[1].shares, shape, mix), strict=True):
            clock = _Rounds(shape, beside, ready, bin_s, mix)
            prompt = clock.seconds(at_once)
            for index, counts in columns:
                inside, waited = prompt.copy(), np.zeros(bins)
                inside[late[index]] = clock.seconds(starts[index][late[index]])
                waited[late[index]] = (starts[index] - at_once)[late[index]] * bin_s
                came = np.flatnonzero(counts)
                seconds, own = (inside + waited)[came], share * counts[came]
                jobs_of[index] += _counted(seconds, (1 - again) * own)
                if again:
                    jobs_of[index] += _counted(seconds + inside[came] / 2 + RETRY_S, again * own)
    return {tenant: Waits(LATENCIES[jobs > 0], jobs[jobs > 0]) for tenant, jobs in zip(tenants, jobs_of, strict=True)}


def _averaged(company: Floats, shares: Floats, shape: Shape, mix: Mix) -> Floats:
    """Company over the whole of a job's stay: it changes as others come and go, and the extremes even out.

    The variance of a mean over `x` correlation times, which are as long as the mean job's stay.
    """
    x = shape.steps / mix.steps_per_image
    mean = shares @ company
    return np.asarray(mean + (company - mean) * np.sqrt(2 * (x - 1 + np.exp(-x))) / x)


class _Rounds:
    """A clock that counts the rounds of jobs of one shape and one level of company.

    Args:
        beside: Others beside such a job, in each bin.
        ready: Samplers that work.
    """

    def __init__(self, shape: Shape, beside: Floats, ready: Floats, bin_s: float, mix: Mix) -> None:
        table = mix.gpu.table
        others = range(mix.deepest + 1)
        self._round_s = np.interp(beside, others, [mix.round_s(jobs, shape) for jobs in others])
        self._done = np.concatenate([[0.0], np.cumsum(np.where(ready > 0, bin_s / self._round_s, 0.0))])
        self._edges = np.arange(len(ready) + 1) * bin_s
        seated = np.interp(
            beside, np.arange(mix.deepest + 1), [mix.seated_after(k, shape) for k in range(mix.deepest + 1)]
        )
        self._steps = shape.steps * turns(shape, mix.gpu) + 0.5 * np.minimum(1.0, beside) + seated
        self._around = shape.n * table.size(shape.width, shape.height).image + table.before_s + table.after_s

    def seconds(self, start: npt.NDArray[np.int64]) -> Floats:
        """Of jobs that are claimed in the bins `start`, from then to their end."""
        began = (self._edges[start] + self._edges[start + 1]) / 2
        until = (self._done[start] + self._done[start + 1]) / 2 + self._steps[start]
        after = np.maximum(0.0, until - self._done[-1]) * self._round_s[-1]
        return np.asarray(np.interp(until, self._done, self._edges) + after - began + self._around)


def _counted(seconds: Floats, jobs: Floats) -> Floats:
    """Jobs by `LATENCIES`."""
    place = np.rint(np.log(seconds / LATENCIES[0]) / np.log(LATENCIES[1] / LATENCIES[0])).astype(int)
    return np.asarray(np.bincount(place.clip(0, len(LATENCIES) - 1), jobs, len(LATENCIES)), dtype=float)
