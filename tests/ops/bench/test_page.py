from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest

from ops.bench.efficiency import accounts
from ops.bench.figure import Figure
from ops.bench.goodput import Score
from ops.bench.page import main, text
from ops.bench.report import Report
from ops.bench.serving import DRIFT, GRID_COLUMNS, GRID_TITLE, LENGTHS_TITLE, Load, table
from ops.bench.table import Table

LOADS = (Load("0.6 of one at a time", 0.6, 1.5, True), Load("2 of the engine", 2.0, 8.0, False))
DETAIL = {
    "limits s, by steps": {"4": 1.5, "8": 3.0},
    "one at a time, images a second": 2.5,
    "engine, images a second": 4.0,
    DRIFT: {"platform": 2.0, "peer": 2.125},
}


def report(refused: str = "") -> Report:
    score = Score(10, 4, 5, 1, 2, 1, 1, 0.5, 2.5)
    silent = Score(10, 0, 0, 0, 0, 10, 0, None, None)
    scores = [(server, load, score) for server in ("platform", "peer") for load in LOADS]
    return Report(
        command="python -m ops.bench c8 serving",
        began=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        load=0.5,
        minutes=1.5,
        results=[
            Figure("C8", "over HTTP / the engine alone", None if refused else 0.8765, 0.85, refused=refused),
            Figure("C6 served 2x", "in time / offered", 0.4, 0.35, detail=DETAIL),
            accounts([{"api": 1.0}], [{"api": 0.5}], images=10),
            table([*scores[:-1], ("peer", LOADS[1], silent)]),
            Table(LENGTHS_TITLE, ["server", "load", "4 steps"], [["platform", "2 of the engine", 0.125]]),
            Table(GRID_TITLE, GRID_COLUMNS, [["key, at most 8, 0.1 s (taken)", 0.25, 1.5]]),
        ],
        note="A quiet machine.",
    )


def test_the_page_holds_what_was_measured(tmp_path: Path) -> None:
    source, page = tmp_path / "serve.json", tmp_path / "docs" / "benchmarks.md"
    source.write_text(report().to_json())
    main(source, page)
    written = page.read_text()
    for part in (
        "python -m ops.bench c8 serving",
        "2026-01-02",
        "A quiet machine.",
        "| over HTTP / the engine alone | 0.88 | >= 0.85 |",
        "| api | 100 | 50 |",
        "| platform | 2 of the engine | 8 | 10 | 0.4 | 0.5 | 2.5 | 1 | 2 | 1 | 1 |",
        "| platform | 2 of the engine | 0.125 |",
        "| key, at most 8, 0.1 s (taken) | 0.25 | 1.5 |",
        "steps (4, 8)",
        "2.00 s before platform, 2.12 s before peer",
        "(images/bench-serve.svg)",
    ):
        assert part in written
    plot = ElementTree.parse(page.parent / "images" / "bench-serve.svg").getroot()
    texts = {element.text for element in plot.iter("{http://www.w3.org/2000/svg}text")}
    assert {"platform", "peer"} <= texts


def test_equal_runs_are_drawn_equally(tmp_path: Path) -> None:
    drawn = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        source = tmp_path / name / "serve.json"
        source.write_text(report().to_json())
        main(source, tmp_path / name / "page.md")
        drawn.append((tmp_path / name / "images" / "bench-serve.svg").read_bytes())
    assert drawn[0] == drawn[1]


def test_a_refused_score_is_not_shown() -> None:
    with pytest.raises(ValueError, match="C8: the pictures were wrong"):
        text(json.loads(report(refused="image 3 differs").to_json()))


def test_half_a_run_makes_no_page() -> None:
    run = json.loads(report().to_json()) | {"tables": []}
    with pytest.raises(ValueError, match="measure c8 and serving"):
        text(run)
