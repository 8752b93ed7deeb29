"""The goals of the fair order, each a number: performance rows C5 and C6."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence

from ops.bench.figure import Figure, percentile
from ops.fairness.lines import Line, Offer
from ops.fairness.simulation import CAPACITY, Clock, Served, Simulation, full_bucket_s, job

START = 1_000.0
SLO = 3.0
"""Times its seconds in a full batch that a job may take."""

MIX = (10, 20, 30, 50)
"""Steps of jobs that are not alike."""

ALIKE = (20,)
"""Of jobs that are; batches of them end together, and a seat comes free seldom."""

MakeLine = Callable[[Clock, Mapping[str, float]], Line]


def poisson(
    rate: float, count: int, tenant: str, luck: random.Random, steps: Sequence[int] = ALIKE, slo: float | None = None
) -> list[Offer]:
    """A team's jobs, `rate` a second on average."""
    at, offers = START, []
    for _ in range(count):
        at += luck.expovariate(rate)
        cost = job(luck.choice(steps))
        offers.append(Offer(at, tenant, cost, None if slo is None else slo * full_bucket_s(cost)))
    return offers


def serve(make: MakeLine, offers: Sequence[Offer], weights: Mapping[str, float] | None = None) -> Simulation:
    """All of them, to the end."""
    clock = Clock(START)
    simulation = Simulation(make(clock, weights or {}), clock, sorted(offers, key=lambda offer: offer.at))
    simulation.run()
    return simulation


def light_tail(make: MakeLine, jobs: int, steps: Sequence[int] = MIX, seed: int = 7) -> Figure:
    """A light team's p99 beside one that offers 16 times as much, 1.8 times capacity together, over its p99 alone."""
    luck = random.Random(seed)
    rate = 1.8 * _capacity(steps) / 17
    light = poisson(rate, jobs, "light", luck, steps)
    heavy = poisson(16 * rate, 16 * jobs, "heavy", luck, steps)
    alone = _latencies(serve(make, light).served, "light")
    beside = _latencies(serve(make, [*light, *heavy]).served, "light")
    return Figure(
        "C5",
        f"light p99 beside a 16x aggressor / alone{_of(steps)}",
        percentile(beside, 0.99) / percentile(alone, 0.99),
        3.0,
        at_most=True,
        detail={"alone p99": percentile(alone, 0.99), "beside p99": percentile(beside, 0.99), "jobs": 17 * jobs},
    )


def share_error(make: MakeLine, jobs: int, seed: int = 7) -> Figure:
    """How far two teams that always wait, weights 2 and 1, are from work 2 to 1, while both wait."""
    luck = random.Random(seed)
    offers = [Offer(START, tenant, job(luck.choice(MIX))) for tenant in ("two", "one") for _ in range(jobs)]
    done: dict[str, float] = {"two": 0.0, "one": 0.0}
    left = {"two": jobs, "one": jobs}
    simulation = serve(make, offers, {"two": 2.0, "one": 1.0})
    for number in simulation.order:
        offer = simulation.offers[number]
        done[offer.tenant] += offer.cost.gflop
        left[offer.tenant] -= 1
        if not all(left.values()):
            break
    ratio = done["two"] / done["one"]
    return Figure("C5", "error of a 2:1 share", abs(ratio / 2 - 1), 0.05, at_most=True, detail={"ratio": ratio})


def goodput(make: MakeLine, load: float, target: float, jobs: int, steps: Sequence[int] = ALIKE) -> Figure:
    """Jobs done in time over those offered, at a multiple of capacity; four teams, the deadline in every job."""
    luck = random.Random(int(10 * load))
    rate = load * _capacity(steps) / 4
    offers = [offer for team in "abcd" for offer in poisson(rate, jobs // 4, team, luck, steps, SLO)]
    served = serve(make, offers).served
    accepted = [one for one in served if one.accepted]
    return Figure(
        "C6",
        f"goodput at {load:g}x of capacity{_of(steps)}",
        sum(one.met for one in served) / len(served),
        target,
        detail={"offered": len(served), "accepted": len(accepted), "late or dropped": _late(accepted)},
    )


def measure(make: MakeLine, jobs: int) -> Iterator[Figure]:
    """All goals. `jobs` are the light team's, whose p99 needs some hundreds; 17 times as many are served in its run."""
    for steps in (MIX, ALIKE):
        yield light_tail(make, jobs, steps)
    yield share_error(make, jobs)
    for steps in (MIX, ALIKE):
        for load, target in ((1.3, 0.62), (2.0, 0.35)):
            yield goodput(make, load, target, 4 * jobs, steps)


def _capacity(steps: Sequence[int]) -> float:
    """Jobs a second, given what their steps are picked from."""
    return CAPACITY * job().gflop * len(steps) / sum(steps)


def _of(steps: Sequence[int]) -> str:
    return ", jobs alike" if len(steps) == 1 else ""


def _latencies(served: Sequence[Served], tenant: str) -> list[float]:
    return [one.latency for one in served if one.offer.tenant == tenant]


def _late(accepted: Sequence[Served]) -> int:
    return sum(not one.met for one in accepted)
