"""`cnserve models` over a registry that lives in the test, and a store in a folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.main import get_group
from typer.testing import CliRunner, Result

import serve.registry.registry
from controlnet.bundle import BundleError
from serve.cli import app
from serve.commands import models
from serve.commands.models import LOOK_EVERY_S, await_rollout
from serve.config import Settings
from serve.jobs.database import open_database
from serve.jobs.rollouts import Rollout, Rollouts
from serve.jobs.store import JobStore
from serve.registry.registry import RegisteredVersion, RegistryError

SERVED = Rollout("controlnet-demo", "served", "1", "1")
LOADING = replace(SERVED, state="loading", wanted="2")
FAILED = replace(LOADING, state="failed", fault="prepare", reason="IndexError: index out of range in self")
SERVED_2 = replace(SERVED, wanted="2", serving="2")


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
        if not (folder / "bundle.json").is_file():
            raise BundleError(f"{folder} is no bundle: it has no bundle.json.")
        self.pushed.append(folder)
        return self.versions()[0]

    def promote(self, version: str, alias: str) -> None:
        if version not in ("1", "2"):
            raise RegistryError(f"demo has no version {version} [or so].")
        self.named[alias] = version


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Registry]:
    before = dict(os.environ)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mlflow.db").touch()
    monkeypatch.setenv("CN_DATA_DIR", str(tmp_path / "data"))
    registry = Registry()
    monkeypatch.setattr(serve.registry.registry.Registry, "from_settings", lambda settings: registry)
    yield registry
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def rollouts() -> Iterator[Rollouts]:
    """What the platform of these settings says."""
    engine = open_database(Settings().database_url)
    yield JobStore(engine).rollouts
    engine.dispose()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "bundle.json").touch()
    return tmp_path / "bundle"


def cnserve(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["models", *arguments], env={"COLUMNS": "80"})


def test_models_are_listed_newest_first_with_their_aliases_and_whole_digests(registry: Registry) -> None:
    registry.named = {"champion": "1", "stable": "1"}
    _, first, second, _ = cnserve("list").output.splitlines()
    assert first.endswith(f"sha256:{'2' * 64}")
    assert "champion" not in first
    assert "champion, stable" in second


def test_where_no_platform_runs_the_list_says_so_and_makes_no_database(tmp_path: Path) -> None:
    assert cnserve("list").output.endswith("No platform runs, so none is served now.\n")
    assert [file.name for file in (tmp_path / "data").iterdir()] == ["mlflow.db"]


@pytest.mark.parametrize(
    ("rollout", "states"), [(SERVED, ["", "served"]), (LOADING, ["loading", "served"]), (FAILED, ["failed", "served"])]
)
def test_the_list_says_how_far_each_is_served(rollouts: Rollouts, rollout: Rollout, states: list[str]) -> None:
    rollouts.show(rollout, 3600)
    header, *lines = cnserve("list").output.splitlines()
    at = slice(header.index("state"), header.index("created"))
    assert [line[at].strip() for line in lines[:2]] == states
    assert lines[2:] == ([FAILED.sentence()] if rollout is FAILED else [])


def test_a_bundle_is_pushed_and_nothing_promoted(registry: Registry, bundle: Path) -> None:
    assert cnserve("push", str(bundle)).output == f"version 2  sha256:{'2' * 64}\n"
    assert (registry.pushed, registry.named) == ([bundle], {})


def test_a_folder_that_is_no_bundle_is_told_in_a_sentence(tmp_path: Path) -> None:
    result = cnserve("push", str(tmp_path))
    assert (result.exit_code, result.output) == (1, f"{tmp_path} is no bundle: it has no bundle.json.\n")


def test_a_bundle_is_a_folder(registry: Registry, tmp_path: Path) -> None:
    assert cnserve("push", str(tmp_path / "none")).exit_code == 2
    assert registry.pushed == []


def test_where_no_platform_runs_a_promotion_says_so_at_once(registry: Registry, rollouts: Rollouts) -> None:
    result = cnserve("promote", "2")
    assert result.exit_code == 0
    assert registry.named == {"champion": "2"}
    assert "No platform runs on sqlite:///" in result.output


def test_a_promotion_says_that_it_is_served(rollouts: Rollouts) -> None:
    rollouts.show(SERVED_2, 3600)
    result = cnserve("promote", "2")
    assert (result.exit_code, result.output) == (0, "champion is version 2\nversion 2 is served\n")


def test_a_promotion_that_fails_says_why(rollouts: Rollouts) -> None:
    rollouts.show(FAILED, 3600)
    result = cnserve("promote", "2")
    assert result.exit_code == 1
    assert FAILED.sentence() in result.output


def test_a_promotion_that_takes_too_long_says_how_far_it_is(rollouts: Rollouts) -> None:
    rollouts.show(LOADING, 3600)
    result = cnserve("promote", "2", "--timeout", "0")
    assert result.exit_code == 1
    assert f"version 2 is not served after 0 s. {LOADING.sentence()}\n" in result.output


@pytest.mark.parametrize("arguments", [("--no-wait",), ("--alias", "stable")])
def test_nothing_is_waited_for_where_nothing_is_to_come(
    registry: Registry, rollouts: Rollouts, arguments: tuple[str, ...]
) -> None:
    rollouts.show(FAILED, 3600)
    assert cnserve("promote", "2", *arguments).exit_code == 0
    assert list(registry.named.values()) == ["2"]


def test_a_platform_that_stops_meanwhile_is_told(monkeypatch: pytest.MonkeyPatch, rollouts: Rollouts) -> None:
    def wait(read: Callable[[], Rollout | None], *_: object) -> None:
        return None

    rollouts.show(LOADING, 3600)
    monkeypatch.setattr(models, "await_rollout", wait)
    result = cnserve("promote", "2")
    assert result.exit_code == 1
    assert "has stopped: version 2 is loaded when it starts again" in result.output


def test_a_store_that_is_away_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CN_DATABASE", "postgresql+psycopg://nobody@127.0.0.1:1/none")
    result = cnserve("promote", "2")
    assert result.exit_code == 1
    assert "Whether it is served is not known." in result.output


def test_what_the_registry_refuses_is_told_in_its_words() -> None:
    result = cnserve("promote", "9")
    assert (result.exit_code, result.output) == (1, "demo has no version 9 [or so].\n")


@pytest.mark.parametrize("end", [SERVED_2, FAILED, None])
def test_a_version_is_waited_for_until_it_is_served_or_has_failed(end: Rollout | None) -> None:
    said = iter([SERVED, LOADING, LOADING, end])
    slept: list[float] = []
    assert await_rollout(lambda: next(said), "2", 300.0, lambda: sum(slept), slept.append) == end
    assert slept == [LOOK_EVERY_S] * 3


def test_a_wait_has_an_end() -> None:
    slept: list[float] = []
    assert await_rollout(lambda: LOADING, "2", 10.0, lambda: sum(slept), slept.append) == LOADING
    assert sum(slept) == 10.0


def test_another_versions_failure_is_none_of_this_one() -> None:
    said = iter([replace(FAILED, wanted="3"), SERVED_2])
    assert await_rollout(lambda: next(said), "2", 10.0, lambda: 0.0, lambda _: None) == SERVED_2


def test_every_argument_and_option_says_what_it_is() -> None:
    commands = get_group(models.app).commands
    helps = {(name, part.name): part.help for name, command in commands.items() for part in command.params}
    assert {place for place, text in helps.items() if not text} == set()
    assert "challenger" not in str(helps)


def test_a_registry_that_nobody_made_is_not_made_by_a_look(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CN_DATA_DIR", str(tmp_path / "elsewhere"))
    result = cnserve("list")
    assert (result.exit_code, "set CN_DATA_DIR" in result.output) == (1, True)
    assert not (tmp_path / "elsewhere").exists()
