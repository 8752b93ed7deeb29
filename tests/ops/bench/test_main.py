"""The command from its words to its JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from ops.bench import __main__ as module
from ops.bench.bench import Bench


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, bench: Bench) -> typer.Typer:
    monkeypatch.setattr(module, "QUICK", bench.effort)
    monkeypatch.setattr(module, "tiny", lambda: bench.tiny)
    monkeypatch.setattr(module, "demo", lambda: bench.demo)
    monkeypatch.setattr(sys, "argv", ["bench", "c4", "--quick"])
    app = typer.Typer()
    app.command()(module.main)
    return app


def test_what_is_asked_for_is_measured_and_written(command: typer.Typer, tmp_path: Path) -> None:
    file = tmp_path / "new" / "bench.json"
    result = CliRunner().invoke(command, ["c4", "--quick", "--threads", "1", "--json", str(file)])
    assert result.exit_code == 0, result.output
    written = json.loads(file.read_text())
    assert [figure["name"] for figure in written["figures"]] == ["C4"]
    assert written["command"] == "python -m ops.bench c4 --quick"
    assert written["machine"]["threads"] == 1


def test_a_refused_score_fails_the_command(
    command: typer.Typer, wrong_bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "Bench", lambda *_: wrong_bench)
    result = CliRunner().invoke(command, ["c4", "--quick", "--threads", "1", "--json", str(tmp_path / "bench.json")])
    assert result.exit_code == 1
    assert "refused" in result.output


def test_an_unknown_figure_is_named(command: typer.Typer) -> None:
    result = CliRunner().invoke(command, ["c5"])
    assert result.exit_code == 2
    assert "c5" in result.output
