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
    master_secret(Settings())  # as the platform makes it


def test_a_teams_secret_is_told() -> None:
    assert secret("blue") == tenant_secret(master_secret(Settings()), "blue") + "\n"


def test_teams_have_different_secrets() -> None:
    assert secret("red") != secret("blue")


def test_where_there_is_no_platform_none_is_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CN_DATA_DIR", str(tmp_path / "elsewhere"))
    result = CliRunner().invoke(app, ["webhooks", "secret", "blue"])
    assert (result.exit_code, "set CN_DATA_DIR" in result.output) == (1, True)
    assert not (tmp_path / "elsewhere").exists()


def test_a_secret_that_is_none_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CN_WEBHOOK_SECRET", "hush")
    result = CliRunner().invoke(app, ["webhooks", "secret", "blue"])
    assert (result.exit_code, result.output) == (1, "CN_WEBHOOK_SECRET must be whsec_<base64 of 24 to 64 bytes>\n")
