"""`cnserve` itself; its groups of commands are in `serve.commands`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import serve.deployments.platform
from controlnet import __version__
from serve.cli import app
from serve.deployments.platform import PlatformError


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def test_the_version_is_told() -> None:
    assert CliRunner().invoke(app, ["--version"]).output == f"cnserve {__version__}\n"


def test_a_platform_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def run(self: object) -> None:
        raise PlatformError("Another platform runs.")

    monkeypatch.setenv("CN_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(serve.deployments.platform.Platform, "run", run)
    result = CliRunner().invoke(app, ["up"])
    assert (result.exit_code, result.output) == (1, "Another platform runs.\n")
