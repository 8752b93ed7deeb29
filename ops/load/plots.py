"""Plots of a report, as SVG that stands in a page by itself."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from ops.load.figures import Figures

MET, LATE, LOST = "#2f7d58", "#d9a441", "#b84a3a"
CALLERS = {"sync": "#2f6f9f", "poll": "#7a5aa6", "follow": "#c06c2b"}
STYLE = {
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8a93a0",
    "axes.labelcolor": "#667080",
    "xtick.color": "#667080",
    "ytick.color": "#667080",
    "text.color": "#667080",
    "svg.fonttype": "none",
    "svg.hashsalt": "load",  # equal figures, equal files
    "legend.frameon": False,
}


def goodput(loads: Sequence[Figures]) -> str:
    """Share done in time over what is asked for, and the most that could be."""
    with drawn(7, 3) as (canvas, svg):
        axes = canvas.add_subplot()
        most = max([2.0, *(load.load for load in loads)]) * 1.05
        grid = [most * i / 200 for i in range(1, 201)]
        axes.plot(grid, [min(1, 1 / x) for x in grid], color="#8a93a0", lw=1, ls="--", label="the most that could be")
        for bursts, marker in ((False, "o"), (True, "s")):
            some = sorted((one for one in loads if ("bursts" in one.name) is bursts), key=lambda one: one.load)
            if some:
                label = "in bursts" if bursts else "at random"
                axes.plot(
                    [one.load for one in some], [one.goodput for one in some], f"{marker}-", color=MET, label=label
                )
        axes.set(xlabel="asked for / capacity", ylabel="done in time", ylim=(0, 1.05), xlim=(0, most))
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        axes.legend(loc="lower left")
    return svg[0]


def waits(loads: Sequence[Figures]) -> str:
    """Median (a dot) and 99th percentile (a bar) by kind of caller."""
    with drawn(7, 3) as (canvas, svg):
        axes = canvas.add_subplot()
        for i, (caller, colour) in enumerate(CALLERS.items()):
            for place, load in enumerate(loads):
                found = load.callers.get(caller)
                if found is None or found.p50 is None or found.p99 is None:
                    continue
                x = place + (i - 1) * 0.2
                axes.plot([x, x], [found.p50, found.p99], color=colour, lw=2, alpha=0.5)
                axes.plot(x, found.p50, "o", color=colour)
                axes.plot(x, found.p99, "_", color=colour, ms=9, mew=2)
        axes.set_xticks(range(len(loads)), [load.name for load in loads])
        axes.set(ylabel="seconds (log)", yscale="log", xlim=(-0.6, len(loads) - 0.4))
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_locator(NullLocator())
        low, high = axes.get_ylim()
        axes.set_ylim(low / 1.5, high * 1.5)
        marks = [Line2D([], [], color=colour, marker="o", label=caller) for caller, colour in CALLERS.items()]
        axes.legend(handles=marks, ncols=3, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return svg[0]


def timelines(loads: Sequence[Figures]) -> str:
    """What became of the requests of each second, load by load."""
    with drawn(7, 1.25 * len(loads) + 0.4) as (canvas, svg):
        rows: list[Axes] = list(canvas.subplots(len(loads), 1, squeeze=False)[:, 0])
        for axes, load in zip(rows, loads, strict=True):
            seconds = range(len(load.timeline))
            met, late, lost = zip(*load.timeline, strict=True)
            both = [a + b for a, b in zip(met, late, strict=True)]
            axes.bar(seconds, met, 1, color=MET, align="edge", label="in time")
            axes.bar(seconds, late, 1, bottom=met, color=LATE, align="edge", label="late")
            axes.bar(seconds, lost, 1, bottom=both, color=LOST, align="edge", label="refused or not done")
            axes.set(ylabel="requests/s", xlim=(0, load.seconds))
            axes.set_title(load.name, loc="left", fontsize=9)
        rows[-1].set_xlabel("second of their arrival")
        rows[0].legend(loc="upper right", ncols=3, fontsize=8, bbox_to_anchor=(1, 1.35))
    return svg[0]


def fairness(loads: Sequence[Figures]) -> str:
    """Work done for each team over its share by weight, load by load."""
    with drawn(7, 2.6) as (canvas, svg):
        axes = canvas.add_subplot()
        width = 0.8 / max(1, len(loads))
        for i, load in enumerate(loads):
            ratios = [one.served / one.entitled if one.entitled else 0.0 for one in load.teams]
            places = [place - 0.4 + (i + 0.5) * width for place in range(len(ratios))]
            axes.bar(
                places,
                ratios,
                width * 0.9,
                label=load.name,
                color=mpl.colormaps["cividis"](0.15 + 0.7 * i / len(loads)),
            )
        axes.axhline(1, color="#8a93a0", lw=1, ls="--")
        names = [f"{one.team}\nweight {one.weight:g}" for one in loads[0].teams]
        axes.set_xticks(range(len(names)), names)
        axes.set(ylabel="served / entitled")
        axes.legend(ncols=len(loads), fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return svg[0]


@contextmanager
def drawn(width: float, height: float) -> Iterator[tuple[Canvas, list[str]]]:
    """A canvas, and a list that has its SVG when the block is left."""
    svg: list[str] = []
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]  # its type names all keys there are
        canvas = Canvas(figsize=(width, height), layout="constrained")
        yield canvas, svg
        buffer = io.StringIO()
        canvas.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    svg.append(re.sub(r'(<svg\b[^>]*?) width="[^"]+" height="[^"]+"', r"\1", text[text.index("<svg") :], count=1))
