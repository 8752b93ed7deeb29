"""The report of a load: one page without files beside it, and the same numbers as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from rich.table import Table

from ops.load import plots
from ops.load.figures import SLO, Figures
from ops.load.run import Measurement
from ops.load.trace import ASSUMED


def write(measurement: Measurement, folder: Path) -> None:
    """Write `load.html` and `load.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "load.json").write_text(json.dumps(to_json(measurement), indent=2) + "\n")
    (folder / "load.html").write_text(to_html(measurement))


def to_json(measurement: Measurement) -> Mapping[str, Any]:
    """Everything."""
    found = measurement.calibration
    return {
        "command": measurement.command,
        "began": measurement.began.isoformat(timespec="seconds"),
        "minutes": measurement.minutes,
        "commit": measurement.commit,
        "machine": dict(measurement.machine),
        "versions": dict(measurement.versions),
        "where": measurement.where,
        "seed": measurement.seed,
        "slo": SLO,
        "deadlines": measurement.deadlines,
        "calibration": {
            "requests_s": found.requests_s,
            "gflop_s": found.gflop_s,
            "mean_gflop": found.mean_gflop,
            "backlog": found.backlog,
            "solo_s": {str(shape): seconds for shape, seconds in sorted(found.solo_s.items(), key=str)},
        },
        "loads": [{"goodput": load.goodput} | asdict(load) for load in measurement.loads],
        "assumed": dict(ASSUMED),
    }


def to_html(measurement: Measurement) -> str:
    """The page."""
    loads = measurement.loads
    drawings = {
        "goodput": plots.goodput(loads),
        "waits": plots.waits(loads),
        "timelines": plots.timelines(loads),
        "fairness": plots.fairness(loads),
    }
    return page("load.html.j2", found=measurement, drawings=drawings, slo=SLO, assumed=ASSUMED)


def page(template: str, **names: Any) -> str:  # noqa: ANN401 - a template's names are its own
    """Fill a template of this folder in."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"seconds": seconds, "percent": percent}
    return environment.get_template(template).render(**names)


def seconds(value: float | None) -> str:
    """For people."""
    if value is None:
        return "none"
    return f"{1000 * value:.0f} ms" if value < 0.9995 else f"{value:.3g} s" if value < 99.5 else f"{value:.0f} s"


def percent(value: float) -> str:
    """Likewise."""
    return f"{100 * value:.0f} %" if value > 0.0995 or value == 0 else f"{100 * value:.1f} %"


def table(measurement: Measurement) -> Table:
    """The loads, for a terminal."""
    found = measurement.calibration
    drawn = Table(
        "load", "offered", "in time", "goodput", "p50", "p99", "refused", "failed", "5xx", "light p99", "late p99",
        title=f"capacity {found.requests_s:.2f} requests/s; in time is {SLO:g}x of what the shape takes alone",
    )  # fmt: skip
    for load in measurement.loads:
        drawn.add_row(*_row(load))
    return drawn


def _row(load: Figures) -> list[str]:
    return [
        load.name,
        str(load.offered),
        str(load.met),
        percent(load.goodput),
        seconds(load.waits.p50),
        seconds(load.waits.p99),
        str(sum(load.refusals.values())),
        str(sum(load.failures.values()) + load.unfinished + load.missing),
        str(sum(load.errors.values())),
        seconds(load.lightest.waits.p99),
        seconds(load.late.p99),
    ]
