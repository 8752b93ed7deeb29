"""`python -m ops.faults` over campaigns that are made up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from ops.faults import __main__ as module
from ops.faults.books import Audit
from ops.faults.faults import FAULTS, Outcome
from ops.faults.run import Campaign


def faults(monkeypatch: pytest.MonkeyPatch, *arguments: str, **wrong: list[str]) -> Result:
    """All of it, where PostgreSQL does not survive."""

    def run(folder: Path, database: Any, jobs: int, *_: object) -> Campaign:
        if database == "postgresql":
            raise RuntimeError("2 jobs have not ended")
        refused = wrong.pop("refused", [])
        audit = Audit(jobs - len(refused), jobs - len(refused), **wrong)
        return Campaign(database, jobs, [Outcome(FAULTS[0], True, 1, 2.0)], audit, refused, 60.0)

    monkeypatch.setattr(module, "run", run)
    app = typer.Typer()
    app.command()(module.main)
    return CliRunner().invoke(app, arguments)


def test_clean_books_are_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    assert faults(monkeypatch, "--database", "sqlite").exit_code == 0


@pytest.mark.parametrize("wrong", ["refused", "failed", "lost", "doubled", "unpaid"])
def test_what_is_wrong_is_said_and_fails(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where nothing was accepted, so that nothing was owed."""
    result = faults(monkeypatch, "--database", "sqlite", "--jobs", "1", **{wrong: ["key-0: why"]})
    assert result.exit_code == 1
    assert f"{wrong}: key-0: why" in result.output


def test_an_unknown_database_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    result = faults(monkeypatch, "--database", "postgres")
    assert result.exit_code == 2


def test_a_campaign_is_kept_when_the_next_breaks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    result = faults(monkeypatch, "--json", str(tmp_path / "new" / "faults.json"))
    assert isinstance(result.exception, RuntimeError)
    assert [one["database"] for one in json.loads((tmp_path / "new" / "faults.json").read_text())] == ["sqlite"]
    assert "sampler" in result.output
