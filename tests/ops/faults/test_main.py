"""`python -m ops.faults` over campaigns that are made up."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from typer.testing import CliRunner, Result

from ops.faults import __main__ as module
from ops.faults.checker import Breach, Rule
from ops.faults.draw import Planned
from ops.faults.run import Campaign, Outcome

KILLED = Planned(0.0, "kill sampler")
OVER = Outcome(KILLED, 1.0, 3, 2.0)


def faults(
    monkeypatch: pytest.MonkeyPatch,
    *arguments: str,
    refused: Sequence[str] = (),
    breaches: Sequence[Breach] = (),
    outcome: Outcome = OVER,
    accepted: int = 9,
) -> Result:
    """All of it, where PostgreSQL does not survive."""

    def run(folder: Path, database: Any, seed: int, *_: object) -> Campaign:
        if database == "postgresql":
            raise RuntimeError("2 jobs have not ended")
        return Campaign(database, seed, [outcome], accepted, {"succeeded": accepted}, 9, 0, refused, breaches, 60.0)

    monkeypatch.setattr(module, "run", run)
    app = typer.Typer()
    app.command()(module.main)
    return CliRunner().invoke(app, arguments)


def test_a_sound_history_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    assert faults(monkeypatch, "--database", "sqlite").exit_code == 0


def test_jobs_that_failed_and_breaches_of_that_rule_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The former may have missed their deadline."""
    monkeypatch.setattr(module, "once", lambda *_: Campaign("sqlite", 1, [OVER], 9, {"failed": 2}, 9, 0, [], [], 60.0))
    app = typer.Typer()
    app.command()(module.main)
    rows = [
        line.split("│")[1:3]
        for line in CliRunner().invoke(app, ["--database", "sqlite"]).output.splitlines()
        if "failed" in line
    ]
    assert [(name.strip(), count.strip()) for name, count in rows] == [("failed", "2"), ("breaches: failed", "0")]


def test_what_clients_gave_up_on_is_said_and_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    result = faults(monkeypatch, "--database", "sqlite", refused=["press, fault-0: why"])
    assert result.exit_code == 1
    assert "refused: press, fault-0: why" in result.output


@pytest.mark.parametrize("rule", get_args(Rule))
def test_a_broken_promise_is_said_and_fails(rule: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    result = faults(monkeypatch, "--database", "sqlite", breaches=[Breach(rule, "job_1", "why")])
    assert result.exit_code == 1
    assert f"{rule}: job_1: why" in result.output


def test_a_platform_that_does_not_come_back_is_said_and_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    result = faults(monkeypatch, "--database", "sqlite", outcome=Outcome(KILLED, 1.0, failed="not ready"))
    assert result.exit_code == 1
    assert "failed: kill sampler: not ready" in result.output


def test_a_campaign_in_which_nothing_was_accepted_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    assert faults(monkeypatch, "--database", "sqlite", accepted=0).exit_code == 1


def test_an_unknown_database_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    result = faults(monkeypatch, "--database", "postgres")
    assert result.exit_code == 2


def test_a_campaign_is_kept_when_the_next_breaks_and_is_not_run_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    report = tmp_path / "new" / "faults.json"
    result = faults(monkeypatch, "--json", str(report), "--seed", "5")
    assert isinstance(result.exception, RuntimeError)
    assert [(one["database"], one["seed"]) for one in json.loads(report.read_text())] == [("sqlite", 5)]
    again = faults(monkeypatch, "--json", str(report), "--seed", "5", "--seeds", "2", "--database", "sqlite")
    assert "sqlite, --seed 5: done before" in again.output
    assert [one["seed"] for one in json.loads(report.read_text())] == [5, 6]


def test_how_often_each_kind_struck_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    result = faults(monkeypatch, "--seed", "5", "--seeds", "2", "--database", "sqlite")
    assert "kill sampler" in result.output.splitlines()[-2]


def test_campaigns_go_on_until_their_hours_are_over_also_where_some_were_run_before(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    report = str(tmp_path / "faults.json")
    arguments = ("--database", "sqlite", "--seed", "5", "--json", report)
    assert faults(monkeypatch, *arguments, "--hours", "0.04").output.count("--seed") == 2 * 3  # a minute each
    more = faults(monkeypatch, *arguments, "--hours", "0.06").output
    assert "sqlite, --seed 7: done before" in more
    assert "sqlite, --seed 8" in more
    assert "4 campaigns, 36 accepted jobs, 0 breaches" in more
    assert "--seed 9" not in more
