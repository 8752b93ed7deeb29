"""What `cnserve up` does before anything is started."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from serve.deployments.environment import secure_ray
from serve.deployments.platform import PlatformError, _one_per_folder, _signals


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
