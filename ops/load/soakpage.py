"""The report of a soak: one page, and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from ops.load import soakplots
from ops.load.page import page, seconds
from ops.load.soak import RETENTION_S, Soaked


def write(found: Soaked, folder: Path) -> None:
    """Write `soak.html` and `soak.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "soak.json").write_text(json.dumps(to_json(found), indent=2) + "\n")
    (folder / "soak.html").write_text(to_html(found))


def to_json(found: Soaked) -> Mapping[str, Any]:
    """Everything but the samples, of which there are too many: their first, their last and their number."""
    data = asdict(found)
    samples = data.pop("samples")
    return data | {
        "began": found.began.isoformat(timespec="seconds"),
        "samples": len(samples),
        "first": samples[0] if samples else None,
        "last": samples[-1] if samples else None,
        "clean": found.books.clean,
        "leaks": [asdict(one) for one in found.leaks],
    }


def to_html(found: Soaked) -> str:
    """The page."""
    samples, deeds = found.samples, found.deeds
    drawings = {
        "memory": soakplots.of_processes(samples, deeds, "PSS, MiB", lambda one: one.pss),
        "handles": soakplots.of_processes(samples, deeds, "open handles", lambda one: one.handles),
        "threads": soakplots.of_processes(samples, deeds, "threads", lambda one: one.threads),
        "stores": soakplots.of_stores(samples, deeds),
    }
    judged = sum(one.flat is not None for one in (*found.memory, *found.rest))
    return page("soak.html.j2", found=found, drawings=drawings, judged=judged, retention=RETENTION_S)


def table(found: Soaked) -> Table:
    """The verdicts, for a terminal."""
    books = found.books
    drawn = Table(
        "accepted", "done", "promises broken", "failed", "5xx unexplained", "p99", "growing", title="soak"
    )  # fmt: skip
    growing = ", ".join(f"{one.of} {one.what} {100 * one.share:+.1f} %" for one in found.leaks) or "nothing"
    drawn.add_row(
        str(books.accepted),
        str(books.done),
        str(len(books.breaches)),
        str(len(books.failed) + books.missing),
        str(len(books.unexcused)),
        seconds(found.waits.p99),
        growing,
    )
    return drawn
