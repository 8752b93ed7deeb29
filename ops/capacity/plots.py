"""The planning page's plots, as SVG that is the same each time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ops.capacity.outcome import Outcome

Points = Sequence[tuple[str, float, float]]
"""Label, p99 in seconds, cost of 1,000 images."""


STYLE = {"svg.hashsalt": "controlnet", "svg.fonttype": "none", "font.size": 9}


def frontier(path: Path, series: Mapping[str, Points], labels: str = "share of a GPU's rate planned with") -> None:
    """Cost of 1,000 images against p99, a line a series."""
    with _drawn(path) as axes:
        for name, points in series.items():
            (line,) = axes.plot([p99 for _, p99, _ in points], [cost for _, _, cost in points], "o-", label=name)
            color = line.get_color()
            for text, p99, cost in points:
                axes.annotate(text, (p99, cost), (5, 4), textcoords="offset points", size=7, color=color)
        axes.set_xlabel(f"p99 of a job, s (labels: {labels})")
        axes.set_ylabel("cost of 1,000 images, USD")
        axes.set_xscale("log")
        for which in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
            which("{x:g}")
        axes.set_ylim(bottom=0)
        axes.legend()


def day(path: Path, outcomes: Mapping[str, Outcome]) -> None:
    """GPUs over a day, a line a kind."""
    with _drawn(path) as axes:
        for name, outcome in outcomes.items():
            every = max(1, len(outcome.times) // 1440)
            axes.plot(outcome.times[::every] / 3600, outcome.paid[::every], label=name)
        axes.set_xlabel("hour")
        axes.set_ylabel("GPUs paid")
        axes.set_yscale("log")
        axes.legend()


@contextmanager
def _drawn(path: Path) -> Iterator[Axes]:
    with rc_context(STYLE):  # type: ignore[arg-type]  # its type names all keys there are
        figure = Figure(figsize=(7, 4.2), layout="constrained")
        axes = figure.subplots()
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        yield axes
        figure.savefig(path, metadata={"Date": None})
    path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")
