from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from ops.bench.figure import Figure
from ops.bench.report import Report, record, typed
from ops.bench.table import Table


@pytest.fixture
def report() -> Report:
    return Report(
        command="python -m ops.bench c1",
        began=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        load=0.5,
        minutes=1.5,
        results=[
            Figure("C1", "engine / one at a time", 2.61, 2.5, detail={"rate": 3.14159}),
            Figure("C4", "steps", None, 1.2, at_most=True, refused="image 3 differs"),
            Table("One step", ["operator", "share"], [["conv", 0.51234]]),
        ],
        note="A shared machine.",
    )


def test_json_holds_everything(report: Report) -> None:
    written = json.loads(report.to_json())
    assert written.keys() == {
        *("began", "command", "commit", "machine", "versions", "minutes", "note", "figures", "tables")
    }
    one, four = written["figures"]
    assert (one["value"], one["met"], one["detail"]) == (2.61, True, {"rate": 3.14159})
    assert (four["value"], four["met"], four["refused"]) == (None, False, "image 3 differs")
    assert written["tables"][0]["rows"] == [["conv", 0.51234]]
    assert {"cpu", "cores", "threads", "load_before"} <= written["machine"].keys()


def test_the_table_names_verdicts_and_refusals(report: Report) -> None:
    console = Console(record=True, width=120, file=io.StringIO())
    report.print(console)
    text = console.export_text()
    assert "2.61" in text
    assert "met" in text
    assert "refused" in text
    assert "image 3 differs" in text


def test_a_section_is_put_before_earlier_ones(report: Report, tmp_path: Path) -> None:
    history = tmp_path / "RESULTS.md"
    history.write_text("# Results\n\nNewest first.\n")
    record(report, history)
    record(Report("later", datetime(2026, 2, 1, tzinfo=UTC), 0.0, 1.0, []), history)
    text = history.read_text()
    assert text.startswith("# Results\n\nNewest first.\n\n## 2026-02-01")
    assert text.index("`later`") < text.index("`python -m ops.bench c1`")
    assert "| C1 | engine / one at a time | 2.61 | >= 2.5 | met |" in text
    assert "| conv | 0.512 |" in text
    assert 'C1: {"rate": 3.142}' in text
    assert "A shared machine." in text


def test_a_command_is_told_without_its_secrets() -> None:
    arguments = ["--url", "http://a b", "--key", "cn_1_x", "--key=cn_2_y"]
    told = typed("ops.load", arguments, ["cn_1_x", "cn_2_y"])
    assert told == "python -m ops.load --url 'http://a b' --key '***' '--key=***'"
    assert typed("ops.load", []) == "python -m ops.load"
