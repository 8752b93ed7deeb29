"""The planning page's plots, as SVG that is the same each time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ops.capacity.outcome import Outcome

Points = Sequence[tuple[str, float, float]]
"""Label, p99 in seconds, cost of 1,000 images."""


def frontier(path: Path, series: Mapping[str, Points], labels: str = "share of a GPU's rate planned with") -> None:
    """Cost of 1,000 images against p99, a line a series."""
    figure, axes = _axes()
    for name, points in series.items():
        (line,) = axes.plot([p99 for _, p99, _ in points], [cost for _, _, cost in points], "o-", label=name)
        for text, p99, cost in points:
            axes.annotate(text, (p99, cost), textcoords="offset points", xytext=(5, 4), size=7, color=line.get_color())
    axes.set_xlabel(f"p99 of a job, s (labels: {labels})")
    axes.set_ylabel("cost of 1,000 images, USD")
    axes.set_xscale("log")
    for which in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        which("{x:g}")
    axes.set_ylim(bottom=0)
    axes.legend()
    _save(figure, path)


def day(path: Path, outcomes: Mapping[str, Outcome]) -> None:
    """GPUs over a day, a line a kind."""
    figure, axes = _axes()
    for name, outcome in outcomes.items():
        every = max(1, len(outcome.times) // 1440)
        axes.plot(outcome.times[::every] / 3600, outcome.paid[::every], label=name)
    axes.set_xlabel("hour")
    axes.set_ylabel("GPUs paid")
    axes.set_yscale("log")
    axes.legend()
    _save(figure, path)


def _axes() -> tuple[Any, Any]:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams |= {"svg.hashsalt": "controlnet", "svg.fonttype": "none", "font.size": 9}
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Any, path: Path) -> None:  # noqa: ANN401  # matplotlib's, imported where it is needed
    from matplotlib import pyplot

    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")
