"""What the planning page shows: always the same numbers, for all chance has a seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from controlnet.architecture import SD15
from ops.bench.table import Table
from ops.capacity import plots
from ops.capacity.exact import simulate_exactly
from ops.capacity.fast import simulate_fast
from ops.capacity.mix import Mix
from ops.capacity.outcome import Outcome
from ops.capacity.policy import Policy
from ops.capacity.prices import Gpu, read_prices
from ops.capacity.trace import Demand
from ops.capacity.traffic import SHAPES, Traffic

SEED = 1
BIN_S = 1.0

TARGETS = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)
"""Shares of a GPU's rate that autoscaling plans with: the less, the more room, the more cost."""

SPOTS = (0.0, 0.25, 0.5, 0.75, 1.0)
INTERRUPTIONS = (0.05, 0.5, 2.0)
"""An hour."""

DAY = Traffic(jobs_per_s=60.0)
"""Of the plots: 6.7 million images."""

WIDEST = Policy(fewest=2, most=10_000)
LARGEST = 10_000


def figures(folder: Path, say: Callable[[str], None]) -> Mapping[str, Sequence[Table]]:
    """Draw the plots into `folder`; the tables by their place on the page."""
    folder.mkdir(parents=True, exist_ok=True)
    gpus = read_prices()
    say("three kinds of GPU ...")
    demand = DAY.demand(BIN_S, SEED)
    kinds = {
        name: [(target, _day(demand, gpu, replace(WIDEST, target=target))) for target in TARGETS]
        for name, gpu in gpus.items()
    }
    plots.frontier(folder / "planning-gpus.svg", {name: _points(runs) for name, runs in kinds.items()})
    plots.day(folder / "planning-day.svg", {name: runs[2][1] for name, runs in kinds.items()})
    say("spot and on demand ...")
    spots = {rate: [(share, _spot(demand, gpus["a100"], share, rate)) for share in SPOTS] for rate in INTERRUPTIONS}
    named = {f"{rate:g} interruptions an hour": _points(runs) for rate, runs in spots.items()}
    plots.frontier(folder / "planning-spot.svg", named, "share of spot machines")
    say("the fast level beside the exact one ...")
    checked = agreement(gpus)
    say(f"{LARGEST:,} GPUs ...")
    large = largest(gpus["a100"])
    return {
        "gpus": [_table(f"Speeds: {_speeds(gpus)}", "planned share", kinds)],
        "spot": [_table("a100, 0.7 planned with", "share of spot", named_runs(spots))],
        "agreement": [checked],
        "largest": [large],
    }


def named_runs(
    spots: Mapping[float, Sequence[tuple[float, Outcome]]],
) -> dict[str, Sequence[tuple[float, Outcome]]]:
    """By name of the rate."""
    return {f"{rate:g} an hour": runs for rate, runs in spots.items()}


def agreement(gpus: Mapping[str, Gpu]) -> Table:
    """Both levels on the same traces."""
    rows = []
    for gpu, samplers, load, policy in _cases(gpus):
        jobs = load * samplers * _rate(gpu)
        requests = Traffic(jobs, 2400 / math.sqrt(samplers), swing=0.0).requests(SEED)
        exact = simulate_exactly(requests, gpu, policy, SD15, SEED)
        fast = simulate_fast(Demand.of(requests, BIN_S), gpu, policy, SD15, SEED)
        rows.append([gpu.name, f"{samplers}", f"{load:g}", *_both(exact, fast)])
    columns = ["GPU", "GPUs", "load", "mean s, exact", "fast", "p99 s, exact", "fast", "cost of 1,000: fast / exact"]
    return Table("Both levels on the same traces", columns, rows)


def largest(gpu: Gpu) -> Table:
    """A day whose afternoon takes ten thousand GPUs."""
    traffic = Traffic(jobs_per_s=LARGEST * 0.7 * _rate(gpu) / 1.6, seconds=24 * 3600.0)
    policy = replace(WIDEST, most=2 * LARGEST)
    outcome = _day(traffic.demand(BIN_S, SEED), gpu, policy)
    rows = [
        ["images", f"{outcome.images:,.0f}"],
        ["images/s, mean", f"{outcome.images_per_s:,.0f}"],
        ["GPUs, mean and most", f"{outcome.paid.mean():,.0f}, {outcome.paid.max():,.0f}"],
        ["GPU-hours", f"{outcome.gpu_hours:,.0f}"],
        ["cost, USD", f"{outcome.cost:,.0f}"],
        ["p50 and p99, s", f"{outcome.everyone.percentile(0.5):.2f}, {outcome.everyone.percentile(0.99):.2f}"],
    ]
    return Table(f"A day of ten thousand {gpu.name}, speed {gpu.table.basis}", ["", ""], rows)


def _speeds(gpus: Mapping[str, Gpu]) -> str:
    return ", ".join(f"{name} {gpu.table.basis}" for name, gpu in gpus.items())


def _cases(gpus: Mapping[str, Gpu]) -> Iterable[tuple[Gpu, int, float, Policy]]:
    for samplers in (1, 4, 16, 64):
        for load in (0.3, 0.6, 0.85, 0.95, 1.2):
            yield gpus["a100"], samplers, load, Policy(fewest=samplers, most=samplers)
    for name in ("t4", "h100"):
        yield gpus[name], 8, 0.7, Policy(fewest=8, most=8)


def _both(exact: Outcome, fast: Outcome) -> list[str]:
    mine, theirs = exact.everyone, fast.everyone
    return [
        f"{mine.mean:.2f}",
        f"{theirs.mean:.2f}",
        f"{mine.percentile(0.99):.2f}",
        f"{theirs.percentile(0.99):.2f}",
        f"{fast.cost_per_1000 / exact.cost_per_1000:.3f}",
    ]


def _rate(gpu: Gpu) -> float:
    mix = Mix(gpu, SHAPES, SD15)
    return mix.rate(math.ceil(mix.jobs))


def _day(demand: Demand, gpu: Gpu, policy: Policy) -> Outcome:
    return simulate_fast(demand, gpu, policy, SD15, SEED)


def _spot(demand: Demand, gpu: Gpu, share: float, rate: float) -> Outcome:
    return _day(demand, replace(gpu, interruptions_per_hour=rate), replace(WIDEST, spot_share=share))


def _points(runs: Sequence[tuple[float, Outcome]]) -> list[tuple[str, float, float]]:
    return [(f"{x:g}", one.everyone.percentile(0.99), one.cost_per_1000) for x, one in runs]


def _table(title: str, what: str, series: Mapping[str, Sequence[tuple[float, Outcome]]]) -> Table:
    columns = ["", what, "GPUs, mean", "most", "cost of 1,000, USD", "p50 s", "p99 s", "within 10 s", "attempts lost"]
    rows = [
        [
            name,
            f"{x:g}",
            f"{one.paid.mean():.1f}",
            f"{one.paid.max():.0f}",
            f"{one.cost_per_1000:.3f}",
            f"{one.everyone.percentile(0.5):.2f}",
            f"{one.everyone.percentile(0.99):.2f}",
            f"{one.everyone.within(WIDEST.slo_s):.2%}",
            f"{one.interrupted:.0f}",
        ]
        for name, runs in series.items()
        for x, one in runs
    ]
    return Table(title, columns, rows)
