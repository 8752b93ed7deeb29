"""What `cnserve up` does before anything is started."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from serve.config import Settings
from serve.deployments.environment import secure_ray
from serve.deployments.platform import Platform, PlatformError, _one_per_folder, _signals
from serve.jobs.database import open_database
from serve.tenancy.tenancy import Tenancy
from serve.tenancy.tenants import Tenant


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment that only the test sees."""
    mine = {"PATH": os.environ["PATH"]}
    monkeypatch.setattr(os, "environ", mine)
    return mine


def test_the_token_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    secure_ray(tmp_path)
    assert (tmp_path / "ray-token").stat().st_mode & 0o777 == 0o600


def test_the_token_is_made_once(tmp_path: Path) -> None:
    secure_ray(tmp_path)
    token = (tmp_path / "ray-token").read_text()
    secure_ray(tmp_path)
    assert (tmp_path / "ray-token").read_text() == token
    assert len(token) == 64


def test_two_platforms_have_two_tokens(tmp_path: Path) -> None:
    for name in "ab":
        secure_ray(tmp_path / name)
    assert (tmp_path / "a" / "ray-token").read_text() != (tmp_path / "b" / "ray-token").read_text()


def test_ray_asks_for_the_token(tmp_path: Path, environment: dict[str, str]) -> None:
    secure_ray(tmp_path)
    assert environment["RAY_AUTH_MODE"] == "token"
    assert Path(environment["RAY_AUTH_TOKEN_PATH"]) == (tmp_path / "ray-token").resolve()


def test_ray_sends_no_statistics(tmp_path: Path, environment: dict[str, str]) -> None:
    secure_ray(tmp_path)
    assert environment["RAY_USAGE_STATS_ENABLED"] == "0"


def test_a_folder_has_one_platform(tmp_path: Path) -> None:
    with _one_per_folder(tmp_path), pytest.raises(PlatformError, match="CN_DATA_DIR"), _one_per_folder(tmp_path):
        pass


def test_a_folder_is_free_when_its_platform_has_ended(tmp_path: Path) -> None:
    for _ in range(2):
        with _one_per_folder(tmp_path):
            pass


def said(settings: Settings) -> str:
    """What the terminal shows of keys."""
    lines: list[str] = []
    platform = Platform(settings, lines.append)
    platform._key = platform._ready_key()
    platform._say_key()
    return "\n".join(lines)


def test_a_first_start_says_a_key_and_how_to_use_it(tmp_path: Path) -> None:
    text = said(Settings(data_dir=tmp_path, _env_file=None))
    key = (tmp_path / "demo.key").read_text().strip()
    assert f"curl -H 'Authorization: Bearer {key}' http://127.0.0.1:8000/v1/models" in text


def test_a_restart_says_the_same(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, _env_file=None)
    assert said(settings) == said(settings)


def test_where_teams_were_declared_it_says_how_to_make_one(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, _env_file=None)
    database = open_database(settings.database_url)
    Tenancy.over(database, settings).tenants.apply([Tenant("red")], "test")
    database.dispose()
    assert said(settings) == "Keys: cnserve keys create TENANT"


def test_it_says_that_no_key_is_needed_where_none_is(tmp_path: Path) -> None:
    assert "member of the team dev" in said(Settings(data_dir=tmp_path, anonymous="dev", _env_file=None))


def test_a_database_that_is_not_there_is_told(tmp_path: Path) -> None:
    url = f"postgresql://nobody@/none?host={tmp_path}"
    with pytest.raises(PlatformError, match="not reachable"):
        said(Settings(data_dir=tmp_path, database=url, _env_file=None))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_asks_for_a_stop(number: signal.Signals) -> None:
    with _signals() as stop:
        signal.raise_signal(number)
        assert stop.is_set()


def test_signals_are_as_before_afterwards() -> None:
    before = signal.getsignal(signal.SIGINT)
    with _signals():
        pass
    assert signal.getsignal(signal.SIGINT) is before
