"""docs/benchmarks.md and its plot from what `make bench-serve` wrote: `python -m ops.bench.page data/bench/serve.json`.

The page is made as a whole, so that no number on it is older than another.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from ops.bench.serving import DRIFT, LENGTHS_TITLE, TITLE
from ops.bench.table import Table

PAGE = Path("docs/benchmarks.md")
PLOT = Path("images/bench-serve.svg")  # beside the page

TEXT = """# The platform under load

The whole platform on one machine, as `cnserve up` starts it, beside the engine alone and beside two other ways to serve
the same pipeline. Made by

```sh
{command}
```

on {began}, commit {commit}: {cpu}, {cores} cores, {threads} threads of torch for whoever samples.{note}

## What a picture costs more than its sampling

A backlog of the shipped model's own size goes in over HTTP, through store, Ray, decoding and annotation of its picture,
sampling and PNG; then the same images through the engine alone, in a process that is given maps. They take turns.

{efficiency}

{accounts}

The store has no process of its own here: SQLite is part of *api* and *dispatcher*.

## The same arrivals for all

![Pictures in time by load, and waits below capacity, of three servers]({plot})

All make the same pictures with the same pipeline, annotator and PNG encoder (which is checked, before and after); only
the serving differs:

- **one at a time** is the first demo's shape: one FastAPI process, a lock, and no work for clients that have gone.
- **serve.batch** is a plain Ray Serve app with `@serve.batch`, tuned by the grid below. A batch ends together.
- **platform** is all of this repository.

Images differ in steps ({steps}), guidance, window, prompt and picture. They arrive by a seeded Poisson process,
whether or not the server keeps up, and latency counts from when a request was due. *In time* is within three times
what an image of so many steps takes in a full batch, over all that were due. Above the engine's capacity clients hang
up when that time is over, whoever serves them; the platform is told it as `deadline_s`, so that it may refuse at once.
Without that, latencies above capacity would say only how long the run was.

{scores}

{lengths}

Above capacity whoever may wait longest is served: a limit grows with an image's steps, a team's jobs start in the order
in which they came, and so a short one finds a line before it that it has no time for, and is refused at once. The last
column counts steps and not images.

One at a time makes {solo:.2g} of these images a second, the engine {capacity:.2g}. Whether the machine stayed the same:
eight of them took the engine alone {drift}.

{grid}

A batch of `@serve.batch` is closed when its wait is over, also while the one before runs; in the mode `key` it holds
images of one step count and window, which is what most pipelines can batch, in the mode `any` whatever comes.
"""


def main(source: Annotated[Path, typer.Argument(exists=True)], page: Path = PAGE) -> None:
    """Write the page and draw the plot."""
    run = json.loads(source.read_text())
    plot = page.parent / PLOT
    plot.parent.mkdir(parents=True, exist_ok=True)
    draw(table_of(run, TITLE), plot)
    page.write_text(text(run))


def text(run: Mapping[str, Any]) -> str:
    """The page of a run that measured `c8` and `serving`.

    Raises:
        ValueError: It did not, or a score was refused.
    """
    figures = run["figures"]
    if refused := [figure["name"] for figure in figures if figure["refused"]]:
        raise ValueError(f"{', '.join(refused)}: the pictures were wrong, so there is nothing to show")
    served = [figure for figure in figures if figure["name"].startswith("C6 served")]
    scores, grid = (table_of(run, title) for title in (TITLE, "How `@serve.batch`"))
    detail = served[0]["detail"]
    return TEXT.format(
        command=run["command"],
        began=run["began"][:10],
        commit=run["commit"],
        cpu=run["machine"]["cpu"],
        cores=run["machine"]["cores"],
        threads=run["machine"]["threads"],
        note=f" {run['note']}" if run["note"] else "",
        efficiency=Table(
            "", ["", "", "target"], [_row(figure) for figure in figures if figure["name"].startswith("C8")]
        ).markdown(),
        accounts=table_of(run, "Where the processor's time goes").markdown(),
        plot=PLOT.as_posix(),
        steps=", ".join(detail["limits s, by steps"]),
        scores=scores.markdown(),
        lengths=table_of(run, LENGTHS_TITLE).markdown(),
        solo=detail["one at a time, images a second"],
        capacity=detail["engine, images a second"],
        drift=", ".join(f"{seconds:.2f} s before {name}" for name, seconds in detail[DRIFT].items()),
        grid=grid.markdown(),
    )


def table_of(run: Mapping[str, Any], title: str) -> Table:
    """The table whose title begins so.

    Raises:
        ValueError: The run has none.
    """
    for table in run["tables"]:
        if table["title"].startswith(title):
            return Table(**table)
    raise ValueError(f"the run has no table {title!r}: measure c8 and serving")


def draw(scores: Table, file: Path) -> None:
    """Pictures in time at every load, and waits at those loads that one at a time could bear."""
    rows: list[dict[str, Any]] = [dict(zip(scores.columns, row, strict=True)) for row in scores.rows]
    servers = list(dict.fromkeys(row["server"] for row in rows))
    loads = list(dict.fromkeys(row["load"] for row in rows))
    below = [load for load in loads if "one at a time" in load]
    with rc_context({"svg.hashsalt": "bench-serve", "svg.fonttype": "none"}):  # equal runs, equal files
        canvas = Canvas(figsize=(10, 4), layout="constrained")
        left, right = canvas.subplots(1, 2)
        for server in servers:
            found = {row["load"]: row["in time"] for row in rows if row["server"] == server}
            left.plot(
                [load.replace(" of ", " of\n") for load in loads],
                [100 * found[load] for load in loads],
                marker="o",
                label=server,
            )
        left.set(title="pictures in time, % of all that were due", xlabel="offered", ylim=(0, 105))
        left.legend()
        left.grid(axis="y", alpha=0.3)
        _waits(right, rows, servers, below)
        canvas.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)


def _waits(axes: Axes, rows: Sequence[Mapping[str, Any]], servers: Sequence[str], loads: Sequence[str]) -> None:
    """p50 as bars, p99 as a stroke above each."""
    width = 0.8 / len(servers)
    for i, server in enumerate(servers):
        found = {row["load"]: row for row in rows if row["server"] == server}
        places = [x + (i - (len(servers) - 1) / 2) * width for x in range(len(loads))]
        medians = [found[load]["p50 s"] for load in loads]
        over = [found[load]["p99 s"] - found[load]["p50 s"] for load in loads]
        axes.bar(places, medians, 0.9 * width, yerr=[[0] * len(loads), over], capsize=4, label=server)
    axes.set(title="seconds from when due: bar p50, stroke p99", xlabel="offered")
    axes.set_xticks(range(len(loads)), loads)
    axes.grid(axis="y", alpha=0.3)


def _row(figure: Mapping[str, Any]) -> list[str | float]:
    sign = "<=" if figure["at_most"] else ">="
    return [figure["title"], f"{figure['value']:.2f}", f"{sign} {figure['target']:g}"]


if __name__ == "__main__":
    typer.run(main)
