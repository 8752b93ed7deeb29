"""What a dashboard is made of, and its JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from grafana_foundation_sdk.builders import common, dashboard, prometheus, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.dashboard import DataSourceRef

Unit = Literal["short", "s", "bytes", "percentunit", "reqps", "ops", "celsius", "watt", "decmbytes", "dtdurations"]
"""Grafana's name of a unit; `short` counts things."""

SOURCE = "${source}"
WIDE, HIGH = 12, 8  # of Grafana's 24 columns, and its rows


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL, and how its lines are called (`{{label}}` is a label's value)."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture.

    Attributes:
        title: For a person who has never seen the platform.
        description: What is drawn, and what to think of it.
        unit: Of its axis.
        queries: Its lines.
        requires: What must be there that a laptop lacks.
    """

    title: str
    description: str
    unit: Unit
    queries: tuple[Query, ...]
    requires: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard; `name` is that of its file and its address."""

    name: str
    title: str
    description: str
    rows: tuple[Row, ...]

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All of them, in their order."""
        return tuple(panel for row in self.rows for panel in row.panels)


def panel(title: str, description: str, unit: Unit, *queries: tuple[str, str], requires: str = "") -> Panel:
    """A panel of (PromQL, legend) pairs."""
    return Panel(title, description, unit, tuple(Query(*query) for query in queries), requires)


def quantiles(metric: str, by: str = "", where: str = "") -> tuple[tuple[str, str], ...]:
    """Median and 95th percentile of a histogram, by a label if one is named."""
    labels = f"le, {by}" if by else "le"
    legend = f" {{{{{by}}}}}" if by else ""
    return tuple(
        (
            f"histogram_quantile({q}, sum by ({labels}) (rate({metric}_bucket{where}[$__rate_interval])))",
            f"{name}{legend}",
        )
        for q, name in ((0.5, "median"), (0.95, "95 %"))
    )


def render(board: Board) -> str:
    """The dashboard as Grafana imports it: JSON that is the same for the same board."""
    made = (
        dashboard.Dashboard(board.title)
        .uid(f"cn-{board.name}")
        .description(board.description)
        .tags(["controlnet"])
        .timezone("utc")
        .time("now-1h", "now")
        .refresh("30s")
        .readonly()
        .with_variable(dashboard.DatasourceVariable("source").label("Prometheus").type("prometheus"))
    )
    for row in board.rows:
        made = made.with_row(dashboard.Row(row.title))
        for one in row.panels:
            made = made.with_panel(_panel(one))
    return JSONEncoder(sort_keys=True, indent=2).encode(made.build()) + "\n"


def _panel(one: Panel) -> timeseries.Panel:
    requires = f"\n\nrequires: {one.requires}" if one.requires else ""
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
    made = (
        timeseries.Panel()
        .title(one.title)
        .description(one.description + requires)
        .unit(one.unit)
        .min(0)
        .datasource(DataSourceRef(type_val="prometheus", uid=SOURCE))
        .legend(legend.show_legend(True))
        .span(WIDE)
        .height(HIGH)
    )
    for i, query in enumerate(one.queries):
        target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(chr(ord("A") + i))
        made = made.with_target(target.exemplar(True) if "_bucket" in query.expr else target)
    return made
