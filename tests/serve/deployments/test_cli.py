"""`cnserve` over a registry that lives in the test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import serve.registry.registry
from serve.cli import app
from serve.registry.registry import RegisteredVersion, RegistryError


class Registry:
    """Stands for MLflow's."""

    def __init__(self) -> None:
        self.named: dict[str, str] = {}
        self.pushed: list[Path] = []

    def versions(self) -> list[RegisteredVersion]:
        at = datetime(2026, 1, 2, tzinfo=UTC)
        return [RegisteredVersion(number, f"sha256:{number * 64}", at, "") for number in ("2", "1")]

    def aliases(self) -> dict[str, str]:
        return self.named

    def push(self, folder: Path) -> RegisteredVersion:
        self.pushed.append(folder)
        return self.versions()[0]

    def promote(self, version: str, alias: str) -> None:
        if version not in ("1", "2"):
            raise RegistryError(f"demo has no version {version} [or so].")
        self.named[alias] = version


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Registry]:
    registry = Registry()
    monkeypatch.setenv("CN_DATA_DIR", str(tmp_path))
    (tmp_path / "mlflow.db").touch()
    monkeypatch.setattr(serve.registry.registry.Registry, "from_settings", lambda settings: registry)
    before = dict(os.environ)
    yield registry
    os.environ.clear()
    os.environ.update(before)


def cnserve(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_models_are_listed_newest_first_with_their_aliases(registry: Registry) -> None:
    registry.named = {"champion": "1", "challenger": "1"}
    lines = cnserve("models", "list").output.splitlines()
    first, second = (line for line in lines if "sha256" in line)
    assert "sha256:2" in first
    assert "champion" not in first
    assert "challenger, champion" in second


def test_a_registry_that_nobody_made_is_not_made_by_a_look(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CN_DATA_DIR", str(tmp_path / "elsewhere"))
    result = cnserve("models", "list")
    assert (result.exit_code, "set CN_DATA_DIR" in result.output) == (1, True)
    assert not (tmp_path / "elsewhere").exists()


def test_a_bundle_is_pushed(registry: Registry, tmp_path: Path) -> None:
    assert "version 2" in cnserve("models", "push", str(tmp_path)).output
    assert registry.pushed == [tmp_path]


def test_pushing_promotes_nothing(registry: Registry, tmp_path: Path) -> None:
    cnserve("models", "push", str(tmp_path))
    assert registry.named == {}


def test_a_bundle_is_a_folder(registry: Registry, tmp_path: Path) -> None:
    assert cnserve("models", "push", str(tmp_path / "none")).exit_code == 2
    assert registry.pushed == []


def test_a_version_is_promoted_to_champion(registry: Registry) -> None:
    assert cnserve("models", "promote", "2").exit_code == 0
    assert registry.named == {"champion": "2"}


def test_a_version_is_promoted_to_another_alias(registry: Registry) -> None:
    cnserve("models", "promote", "2", "--alias", "challenger")
    assert registry.named == {"challenger": "2"}


def test_what_the_registry_refuses_is_told_in_its_words() -> None:
    result = cnserve("models", "promote", "9")
    assert (result.exit_code, result.output) == (1, "demo has no version 9 [or so].\n")
