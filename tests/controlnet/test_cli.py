from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from controlnet.bundle import Bundle
from controlnet.cli import app
from tests.controlnet.evaluation.conftest import bundle as bundle  # a fixture

runner = CliRunner()


def test_evaluate_measures_prints_and_writes(bundle: Bundle, tmp_path: Path) -> None:
    page = tmp_path / "model.md"
    arguments = ["evaluate", str(bundle.folder), "--count", "1", "--out", str(tmp_path / "out"), "--docs", str(page)]
    result = runner.invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "| edges followed, of the ceiling | 0.75 |" in result.output
    document = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert document["digest"] == bundle.digest
    assert document["metrics"]["judged"] == 1
    assert bundle.digest in page.read_text()


def test_evaluate_wants_a_control_that_takes_edges(bundle: Bundle) -> None:
    result = runner.invoke(app, ["evaluate", str(bundle.folder), "--control", "depth"])
    assert result.exit_code == 1
    assert "must be there and take canny maps" in " ".join(result.output.split())


def test_evaluate_logs_on_a_version_or_nowhere(bundle: Bundle) -> None:
    result = runner.invoke(app, ["evaluate", str(bundle.folder), "--model", "demo"])
    assert result.exit_code == 2


@pytest.mark.parametrize("content", ["{}", ""])
def test_evaluate_says_what_is_wrong_with_a_bundle(bundle: Bundle, tmp_path: Path, content: str) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(bundle.folder, folder)
    (folder / "bundle.json").write_text(content)
    result = runner.invoke(app, ["evaluate", str(folder)])
    assert result.exit_code == 1
    assert "bundle.json" in result.output
