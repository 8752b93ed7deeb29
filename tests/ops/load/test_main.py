"""`python -m ops.load` without a load."""

from __future__ import annotations

import signal
import sys

import pytest
import typer
from typer.testing import CliRunner

from ops.load import __main__ as module
from ops.load.calibration import NotCalibrated


def test_no_key_is_in_the_command_that_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(*given: object) -> None:
        raise NotCalibrated(next(one for one in given if str(one).startswith("python -m")))

    arguments = ["--url", "http://127.0.0.1:9", "--key", "cn_1_secret", "--key=cn_2_secret"]
    monkeypatch.setattr(module, "measure", measure)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["load", *arguments])
    app = typer.Typer()
    app.command()(module.main)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "python -m ops.load --url" in result.output
    assert "secret" not in result.output
