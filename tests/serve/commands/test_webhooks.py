from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from serve.cli import app
from serve.config import Settings
from serve.webhooks.sign import master_secret, tenant_secret


def secret(tenant: str) -> str:
    result = CliRunner().invoke(app, ["webhooks", "secret", tenant])
    assert result.exit_code == 0
    return result.output


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CN_DATA_DIR", str(tmp_path))


def test_a_teams_secret_is_told() -> None:
    assert secret("blue") == tenant_secret(master_secret(Settings()), "blue") + "\n"


def test_teams_have_different_secrets() -> None:
    assert secret("red") != secret("blue")
