"""Plots of a soak's report."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import matplotlib as mpl
from matplotlib.axes import Axes

from ops.load.census import Process, Sample
from ops.load.deeds import Deed
from ops.load.leaks import PER_EXPIRED, PER_JOB, generations
from ops.load.plots import LOST, drawn

OURS = ("api", "dispatcher", "imaging", "sampler", "controller")
"""The platform's own; the others are Ray's and are drawn together."""


def of_processes(
    samples: Sequence[Sample], deeds: Sequence[Deed], label: str, value: Callable[[Process], float]
) -> str:
    """A quantity of each of the platform's own processes, generation by generation, and of all of Ray's together."""
    with drawn(7, 3) as (canvas, svg):
        axes = canvas.add_subplot()
        for name, history in generations(samples).items():
            role, _, number = name.rpartition(" ")
            if role in OURS:
                times, values = [at / 60 for at, _ in history], [value(one) for _, one in history]
                colour = mpl.colormaps["tab10"](OURS.index(role))
                axes.plot(times, values, color=colour, lw=1.4, label=role if number == "1" else None)
        others = [sum(value(one) for one in sample.processes if one.role not in OURS) for sample in samples]
        axes.plot([one.at / 60 for one in samples], others, color="#8a93a0", lw=1.4, label="Ray's, together")
        _mark(axes, deeds)
        axes.set(xlabel="minutes", ylabel=label, ylim=(0, None))
        axes.legend(ncols=3, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return svg[0]


def of_stores(samples: Sequence[Sample], deeds: Sequence[Deed]) -> str:
    """Files, and rows for each job."""
    with drawn(7, 3.6) as (canvas, svg):
        above, below = canvas.subplots(2, 1, sharex=True)
        times = [one.at / 60 for one in samples]
        above.plot(times, [one.files for one in samples], color="#2f6f9f", lw=1.4)
        above.set(ylabel="files", ylim=(0, None))
        ratios: defaultdict[str, list[float]] = defaultdict(list)
        for one in samples:
            for table, rows in one.rows.items():
                ratios[table].append(rows / max(1, one.rows["jobs"]))
        for i, (table, values) in enumerate(
            (name, ratios[name]) for name in ("holds", *PER_JOB, PER_EXPIRED) if name in ratios
        ):
            below.plot(times, values, lw=1.4, label=table, color=mpl.colormaps["tab10"](i))
        below.set(xlabel="minutes", ylabel="rows a job", ylim=(0, None))
        below.legend(ncols=6, fontsize=7, loc="upper right")
        _mark(above, deeds)
        _mark(below, deeds)
    return svg[0]


def _mark(axes: Axes, deeds: Sequence[Deed]) -> None:
    for deed in deeds:
        axes.axvline(deed.at / 60, color=LOST if deed.kill else "#8a93a0", lw=0.6, ls="-" if deed.kill else ":")
