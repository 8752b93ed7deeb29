"""Pictures of the dashboards, drawn from a Prometheus' own numbers, for docs: Grafana draws the same, more finely.

python -m ops.dashboards.picture http://127.0.0.1:9090 docs/images --seconds 3600
"""

from __future__ import annotations

import argparse
import io
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, PercentFormatter
from PIL import Image

from ops.dashboards.board import Board, Panel
from ops.dashboards.boards import BOARDS

COLUMNS, WIDTH_IN, HEIGHT_IN, DPI = 3, 5.0, 2.3, 72
MOST_LINES = 8
POINTS = 120


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a panel: its name, and its points as (epoch seconds, value)."""

    name: str
    points: Sequence[tuple[float, float]]


Ask = Callable[[str], Sequence[tuple[Mapping[str, str], Sequence[tuple[float, float]]]]]
"""From PromQL to series: labels, and points."""


def asking(url: str, since: float, until: float, window: str = "1m") -> Ask:
    """Range queries to a Prometheus.

    Args:
        url: Of Prometheus.
        since: Epoch seconds.
        until: Likewise.
        window: What stands for Grafana's `$__rate_interval`.
    """

    def ask(expr: str) -> list[tuple[dict[str, str], list[tuple[float, float]]]]:
        parameters: dict[str, Any] = {"query": expr.replace("$__rate_interval", window), "start": since, "end": until}
        answer = httpx.get(
            f"{url}/api/v1/query_range", params=parameters | {"step": (until - since) / POINTS}, trust_env=False
        )
        answer.raise_for_status()
        series = answer.json()["data"]["result"]
        return [(one["metric"], [(at, float(value)) for at, value in one["values"]]) for one in series]

    return ask


def lines(panel: Panel, ask: Ask) -> list[Line]:
    """What a panel shows: without values that are no numbers."""
    found = []
    for query in panel.queries:
        for labels, points in ask(query.expr):
            name = re.sub(r"{{(\w+)}}", lambda match, labels=labels: labels.get(match[1], ""), query.legend)  # type: ignore[misc]
            kept = [(at, value) for at, value in points if math.isfinite(value)]
            if kept:
                found.append(Line(name, kept))
    return found


def draw(board: Board, ask: Ask, path: Path) -> None:
    """Write a board as a PNG; panels without numbers say so."""
    rows = math.ceil(len(board.panels) / COLUMNS)
    figure = Figure(figsize=(COLUMNS * WIDTH_IN, rows * HEIGHT_IN), dpi=DPI, layout="constrained")
    axes = figure.subplots(rows, COLUMNS, squeeze=False)
    figure.suptitle(board.title, fontsize=13)
    for each in axes.flat[len(board.panels) :]:
        each.set_axis_off()
    for each, panel in zip(axes.flat, board.panels, strict=False):
        _panel(each, panel, lines(panel, ask))
    whole = io.BytesIO()
    figure.savefig(whole, format="png")
    Image.open(whole).convert("RGB").quantize(64).save(path, optimize=True)  # a third of the bytes


def _panel(axes: Axes, panel: Panel, shown: Sequence[Line]) -> None:
    axes.set_title(panel.title, fontsize=9, loc="left")
    axes.tick_params(labelsize=7)
    if not shown:
        axes.text(0.5, 0.5, f"requires: {panel.requires}" if panel.requires else "no numbers", ha="center", fontsize=8)
        axes.set_xticks([])
        axes.set_yticks([])
        return
    last = max(line.points[-1][0] for line in shown)
    for line in shown[:MOST_LINES]:
        axes.plot(
            [at - last for at, _ in line.points],
            [value for _, value in line.points],
            label=line.name,
            lw=1.2,
            clip_on=False,
        )
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(
        PercentFormatter(1, decimals=None) if panel.unit == "percentunit" else EngFormatter(_SIGNS.get(panel.unit, ""))
    )
    axes.xaxis.set_major_formatter(lambda seconds, _: f"{seconds:.0f} s")
    axes.legend(fontsize=6, loc="upper left", framealpha=0.6)
    axes.grid(alpha=0.3)


_SIGNS = {"s": "s", "bytes": "B", "reqps": "/s", "ops": "/s", "celsius": "°C", "watt": "W"}


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Draw the dashboards from a Prometheus' numbers.")
    parser.add_argument("prometheus", help="http://127.0.0.1:9090")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=3600.0, help="How far back.")
    given = parser.parse_args()
    until = time.time()
    for board in BOARDS:
        draw(board, asking(given.prometheus, until - given.seconds, until), given.folder / f"board-{board.name}.png")


if __name__ == "__main__":
    main()
