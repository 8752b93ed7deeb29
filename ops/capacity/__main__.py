"""The command line: `python -m ops.capacity simulate | calibrate | predict | plan | limits`."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from controlnet.architecture import SD15
from ops.bench.figure import Figure
from ops.bench.report import Report, now, record, typed
from ops.bench.table import Table
from ops.capacity import limits as saturation
from ops.capacity import page
from ops.capacity.calibration import SIZES, alone, fitted, simulated, slowed
from ops.capacity.exact import simulate_exactly
from ops.capacity.fast import simulate_fast
from ops.capacity.local import mean_s, platform, throughput
from ops.capacity.planning import figures as planned
from ops.capacity.policy import Policy, read_policy
from ops.capacity.prediction import calibration_load, compare, figures
from ops.capacity.prices import PRICES, read_prices
from ops.capacity.table import CostTable
from ops.capacity.trace import Demand, read
from ops.capacity.traffic import DAY_S, Traffic

HISTORY = Path(__file__).parents[1] / "bench" / "RESULTS.md"
TABLE = Path("data/capacity/this-machine.json")

app = typer.Typer(no_args_is_help=True, add_completion=False)
console = Console()

Record = Annotated[bool, typer.Option("--record", help="Add a section to ops/bench/RESULTS.md.")]
Quick = Annotated[bool, typer.Option("--quick", help="Smaller runs: to see that it works.")]
Note = Annotated[str, typer.Option(help="What a reader of that section must know of the machine.")]


@app.command()
def simulate(
    gpu: Annotated[str, typer.Option(help="A kind of the price list.")] = "a100",
    prices: Annotated[Path, typer.Option(help="The price list.")] = PRICES,
    policy: Annotated[Path | None, typer.Option(help="YAML; see ops/capacity/policy.py for its fields.")] = None,
    trace: Annotated[Path | None, typer.Option(help="CSV; a synthetic day where absent.")] = None,
    jobs_per_s: Annotated[float, typer.Option(help="Of the synthetic day, on average.")] = 10.0,
    hours: Annotated[float, typer.Option(help="Of it.")] = 24.0,
    bursts: Annotated[float, typer.Option(help="Of it, an hour.")] = 0.0,
    exact: Annotated[bool, typer.Option("--exact", help="Every step of every sampler: for small fleets.")] = False,
    tenants: Annotated[bool, typer.Option("--tenants", help="Each team by itself too.")] = False,
    csv: Annotated[Path | None, typer.Option(help="Where the number of GPUs over time is written.")] = None,
    seed: Annotated[int, typer.Option(help="Of all chance.")] = 1,
) -> None:
    """GPUs over time, GPU-hours, cost and waits for SD 1.5 under a trace, a price list and a policy."""
    kinds = read_prices(prices)
    if gpu not in kinds:
        raise typer.BadParameter(f"{gpu}: choose from {', '.join(kinds)}")
    rules = Policy(fewest=1, most=10_000) if policy is None else read_policy(policy)
    traffic = Traffic(jobs_per_s, hours / 24 * DAY_S, bursts_per_hour=bursts)
    if exact:
        requests = traffic.requests(seed) if trace is None else read(trace)
        outcome = simulate_exactly(requests, kinds[gpu], rules, SD15, seed)
    else:
        demand = traffic.demand(1.0, seed) if trace is None else Demand.of(read(trace), 1.0)
        outcome = simulate_fast(demand, kinds[gpu], rules, SD15, seed)
    everyone = outcome.everyone
    rows: list[Sequence[str | float]] = [
        ["speed of this GPU", kinds[gpu].table.basis],
        ["images", f"{outcome.images:,.0f}"],
        ["GPUs, mean and most", f"{outcome.paid.mean():,.1f}, {outcome.paid.max():,.0f}"],
        ["GPU-hours on demand, spot", f"{outcome.on_demand_hours:,.1f}, {outcome.spot_hours:,.1f}"],
        [f"cost, {kinds[gpu].currency}", f"{outcome.cost:,.2f}"],
        [f"cost of 1,000 images, {kinds[gpu].currency}", f"{outcome.cost_per_1000:.3f}"],
        [f"done within {rules.slo_s:g} s", f"{everyone.within(rules.slo_s):.2%}"],
        ["p50, p99, mean, s", f"{everyone.percentile(0.5):.2f}, {everyone.percentile(0.99):.2f}, {everyone.mean:.2f}"],
        ["attempts lost with spot machines", f"{outcome.interrupted:,.0f}"],
    ]
    results: list[Figure | Table] = [Table(f"{gpu}, {'exact' if exact else 'fast'}", ["", ""], rows)]
    if tenants:
        columns = ["team", "jobs", "p50 s", "p99 s", f"within {rules.slo_s:g} s"]
        each = [
            [name, f"{w.count:,.0f}", *(f"{w.percentile(q):.2f}" for q in (0.5, 0.99)), f"{w.within(rules.slo_s):.2%}"]
            for name, w in outcome.waits.items()
        ]
        results.append(Table("By team", columns, each))
    if csv is not None:
        counts = outcome.times, outcome.paid, outcome.ready
        lines = (f"{at:g},{paid:g},{ready:g}" for at, paid, ready in zip(*counts, strict=True))
        csv.write_text("seconds,paid,ready\n" + "\n".join(lines) + "\n")
    _Run().report(results, add=False)


@app.command()
def calibrate(
    table: Annotated[Path, typer.Option(help="Where the cost table is written.")] = TABLE,
    quick: Quick = False,
    add: Record = False,
    note: Note = "",
) -> None:
    """Start the platform here, run jobs alone and one load, and fit a cost table (2 minutes)."""
    run = _Run(note)
    with tempfile.TemporaryDirectory(prefix="cn-capacity-") as folder, platform(Path(folder), SIZES) as local:
        architecture = local.teams.architecture
        console.print("one job at a time ...")
        done = alone(local, rounds=1 if quick else 3)
        idle = fitted(done, architecture)
        console.print("one load ...")
        load = local.load(calibration_load(idle, architecture, 15 if quick else 40))
        made, factor = slowed(idle, load, architecture)
    made.write(table)
    outcome = simulated(made, load, architecture)
    rows: list[Sequence[str | float]] = []
    for size in made.sizes:
        milliseconds = (1000 * value for value in (size.fixed, size.control, size.image, size.per_gflop))
        rows.append([f"{size.width}x{size.height}", *milliseconds])
    columns = ["size", "a, ms", "a control, ms", "around the steps, ms an image", "b, ms a GFLOP"]
    errors = sorted(abs(simulated(idle, [one], architecture).everyone.mean / one.seconds - 1) for one in done)
    run.report(
        [
            Table("What a step takes here, under load (measured)", columns, rows),
            Figure("alone", "jobs alone, the table is off by (median)", errors[len(errors) // 2], None),
            Figure("slowed", "times as long under the one load", factor, None),
            Figure("throughput", "of that load, simulated / measured", outcome.images_per_s / throughput(load), None),
            Figure("mean", "of that load, fitted: simulated / measured", outcome.everyone.mean / mean_s(load), None),
            Figure("before", "ms before the engine", 1000 * made.before_s, None),
            Figure("after", "ms after it", 1000 * made.after_s, None),
        ],
        add,
    )


@app.command()
def predict(
    table: Annotated[Path, typer.Option(help="What `calibrate` wrote.")] = TABLE,
    runs: Annotated[int, typer.Option(min=1, help="Loads.")] = 5,
    quick: Quick = False,
    add: Record = False,
    note: Note = "",
) -> None:
    """Predict other loads with that table, then run them here (5 minutes); exit with 1 where one is far off."""
    run, costs = _Run(note), CostTable.read(table)
    compared = []
    with tempfile.TemporaryDirectory(prefix="cn-capacity-") as folder, platform(Path(folder), SIZES) as local:
        for number in range(runs):
            console.print(f"load {number + 1} ...")
            compared.append(compare(local, costs, 10 if quick else 32, seed=100 + number))
    results = figures(compared)
    run.report(results, add)
    if add:
        page.put_tables("predicted", [one for one in results if isinstance(one, Table)])
    raise typer.Exit(1 if any(one.met is False for one in results if isinstance(one, Figure)) else 0)


@app.command()
def plan(
    folder: Annotated[Path, typer.Option(help="Where plots go.")] = page.IMAGES,
    write: Annotated[bool, typer.Option("--write", help="Put the tables into docs/planning.md.")] = False,
) -> None:
    """Draw the planning page's plots and make its tables: the same each time."""
    run = _Run()
    tables = planned(folder, lambda text: console.print(text))
    run.report([table for group in tables.values() for table in group], add=False)
    if write:
        for name, group in tables.items():
            page.put_tables(name, group)


@app.command()
def limits(quick: Quick = False, add: Record = False, note: Note = "") -> None:
    """Measure store, dispatcher, artifacts and simulator here, and say how many GPUs they carry (3 minutes)."""
    run = _Run(note)
    results = saturation.measure(quick, lambda text: console.print(text))
    run.report(results, add)
    if add:
        page.put_tables("limits", [one for one in results if isinstance(one, Table)])


class _Run:
    """Remembers when and how a command began; prints what came of it, and adds it to the history."""

    def __init__(self, note: str = "") -> None:
        self._note = note
        self._began, self._load, self._clock = now(), os.getloadavg()[0], time.perf_counter()

    def report(self, results: Sequence[Figure | Table], add: bool) -> None:
        """For people; `add` writes it down."""
        command = typed("ops.capacity", sys.argv[1:])
        minutes = (time.perf_counter() - self._clock) / 60
        report = Report(command, self._began, self._load, minutes, results, self._note)
        report.print(console)
        if add:
            record(report, HISTORY)


if __name__ == "__main__":
    app()
