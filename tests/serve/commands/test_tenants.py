from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from serve.cli import app


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CN_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "160")


def tenants(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["tenants", *arguments])


def declare(text: str) -> None:
    Path("tenants.yaml").write_text(text)


def apply(text: str, *options: str) -> str:
    declare(text)
    result = tenants("apply", "-f", "tenants.yaml", *options)
    assert result.exit_code == 0, result.output
    return result.output


def test_what_changed_is_shown() -> None:
    assert apply("tenants: [{name: red}, {name: blue}]") == "red: added\nblue: added\n"
    changed = apply("tenants: [{name: red, weight: 2, limits: {max_steps: 9}}, {name: blue}]")
    assert changed == "red: changed: max_steps none -> 9, weight 1 -> 2\n"


def test_applying_again_changes_nothing() -> None:
    apply("tenants: [{name: red}]")
    assert apply("tenants: [{name: red}]") == "Nothing to change.\n"


def test_a_dry_run_does_nothing() -> None:
    assert apply("tenants: [{name: red}]", "--dry-run") == "red: would be added\n"
    assert not Path("jobs.db").exists()
    assert apply("tenants: [{name: red}]") == "red: added\n"


def test_a_team_that_the_file_lacks_is_told_and_left() -> None:
    apply("tenants: [{name: red}, {name: blue}]")
    assert "left as they are: blue" in apply("tenants: [{name: red}]")
    assert "blue" in tenants("list").output


def test_or_removed_when_it_is_asked_for() -> None:
    apply("tenants: [{name: red}, {name: blue}]")
    assert apply("tenants: [{name: red}]", "--prune") == "blue: removed\n"
    assert "blue" not in tenants("list").output


def test_teams_are_listed_with_their_limits() -> None:
    apply("tenants: [{name: red, weight: 0.5, models: [demo], limits: {gflop_per_day: 5.0e+7}}]")
    (line,) = (line for line in tenants("list").output.splitlines() if "red" in line)
    for part in ("0.5", "gflop_per_day 50000000", "models [demo]"):
        assert part in line


def test_what_is_wrong_with_a_file_is_a_sentence() -> None:
    declare("tenants: [{name: red, weight: 0}]")
    result = tenants("apply", "-f", "tenants.yaml")
    assert (result.exit_code, result.output) == (
        1,
        "tenants.yaml: tenants.0.weight (team red): must be more than 0\n",
    )


def test_so_is_a_file_that_is_not_there() -> None:
    result = tenants("apply", "-f", "none.yaml")
    assert result.exit_code == 1
    assert "none.yaml" in result.output
