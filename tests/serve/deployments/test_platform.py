"""What `cnserve up` does before anything is started."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import pytest

import serve.deployments.platform
from serve.config import Settings
from serve.deployments.environment import secure_ray
from serve.deployments.ground import DataFolder, PlatformError
from serve.deployments.platform import Platform, _signals, listen, quiet
from serve.jobs.database import open_database
from serve.jobs.store import JobStore, ServedModel
from serve.registry.registry import Registry, RegistryUnreachable, VersionRefused
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


def test_ray_waits_for_its_processes_for_long(tmp_path: Path, environment: dict[str, str]) -> None:
    environment["RAY_worker_register_timeout_seconds"] = "7"
    secure_ray(tmp_path)
    assert int(environment["RAY_raylet_start_wait_time_s"]) >= 300
    assert environment["RAY_worker_register_timeout_seconds"] == "7"  # whoever says otherwise is heard


def said(settings: Settings) -> str:
    """What the terminal shows of keys."""
    lines: list[str] = []
    platform = Platform(settings, DataFolder(settings.data_dir, 0), lines.append)
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


def test_what_is_new_is_said_now_and_then(tmp_path: Path) -> None:
    lines: list[str] = []
    news = iter(["version 2 can't be loaded", None, "never asked for"])
    settings = Settings(data_dir=tmp_path, _env_file=None)
    platform = Platform(settings, DataFolder(tmp_path, 0), lines.append, lambda: next(news))
    platform._look()
    platform._look()  # too soon
    platform._shown_at = float("-inf")
    platform._look()
    assert lines == ["version 2 can't be loaded"]
    assert next(news) == "never asked for"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_asks_for_a_stop(number: signal.Signals) -> None:
    with _signals() as stop:
        signal.raise_signal(number)
        assert stop.is_set()


def test_ray_does_not_keep_the_signals_that_it_takes() -> None:
    with _signals() as stop:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # as Ray does while it starts
        listen(stop)
        signal.raise_signal(signal.SIGTERM)
        assert stop.is_set()


def test_signals_are_as_before_afterwards() -> None:
    before = signal.getsignal(signal.SIGINT)
    with _signals():
        pass
    assert signal.getsignal(signal.SIGINT) is before


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    settings = Settings(data_dir=tmp_path, _env_file=None)
    return Platform(settings, DataFolder(tmp_path, 0), lambda line: None)


def test_what_ray_fails_with_is_a_sentence_that_names_its_logs(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    def fail() -> None:
        raise Exception("Traceback:\n  something\nThe node timed out.\n")

    environment["RAY_TMPDIR"] = "/elsewhere"
    monkeypatch.setattr(serve.deployments.platform, "start_ray", fail)
    with _signals() as stop, pytest.raises(PlatformError) as caught:
        platform._start_ray(stop)
    assert str(caught.value) == (
        "Ray could not be started: The node timed out. "
        f"Its logs: {tmp_path}/logs/ray.log, /elsewhere/ray/session_latest/logs"
    )


def test_a_sigterm_while_ray_starts_asks_for_a_stop(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    def end() -> None:
        raise SystemExit(signal.SIGTERM)

    monkeypatch.setattr(serve.deployments.platform, "start_ray", end)
    with _signals() as stop:
        platform._start_ray(stop)
        assert stop.is_set()


def test_ray_is_not_started_after_a_stop(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[bool] = []
    monkeypatch.setattr(serve.deployments.platform, "start_ray", lambda: started.append(True))
    stop = threading.Event()
    stop.set()
    platform._start_ray(stop)
    assert started == []


def test_what_is_waited_for_is_told_until_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve.deployments.platform, "TELL_EVERY_S", 0.001)
    told: list[tuple[str, float]] = []
    heard = threading.Event()

    def waited(what: str, seconds: float) -> None:
        told.append((what, seconds))
        heard.set()

    settings = Settings(data_dir=tmp_path, _env_file=None)
    platform = Platform(settings, DataFolder(tmp_path, 0), lambda line: None, waited=waited)
    before = threading.active_count()
    with platform._waiting("starting Ray"):
        assert heard.wait(30)
    assert told[0][0] == "starting Ray"
    assert told[0][1] > 0
    assert threading.active_count() == before


def test_a_start_ends_where_the_disk_is_full(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DataFolder, "look", lambda folder: 0)
    with pytest.raises(PlatformError, match=f"The disk of {tmp_path} is full"):
        platform._check(starting=True)


def refuse(registry: Registry, folder: Path) -> None:
    raise VersionRefused("The bundle is damaged.")


def test_a_start_ends_where_no_model_can_be_served(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Registry, "begin_with", refuse)
    platform._register_demo()
    with pytest.raises(PlatformError, match=r"^No model can be served: The bundle is damaged\.$"):
        platform._wait_until_ready(threading.Event())


def test_what_was_served_before_is_served_though_the_model_that_ships_is_refused(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(data_dir=tmp_path, _env_file=None)
    database = open_database(settings.database_url)
    JobStore(database).set_serving(ServedModel(settings.model, "1", "sha256:aa", {}, "models:/demo/1"))
    database.dispose()
    monkeypatch.setattr(Registry, "begin_with", refuse)
    platform._register_demo()
    assert platform._refused is None


def test_the_disk_is_looked_at_while_the_registry_is_waited_for(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DataFolder, "look", lambda folder: 0)
    with pytest.raises(PlatformError, match="is full"):
        platform._wait_until_ready(threading.Event(), lambda: True)


def test_a_registry_that_is_away_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    answers = iter([RegistryUnreachable("MLflow can't be used."), None])

    def begin_with(registry: Registry, folder: Path) -> None:
        if error := next(answers):
            raise error

    monkeypatch.setattr(Registry, "begin_with", begin_with)
    monkeypatch.setattr(serve.deployments.platform, "REGISTRY_EVERY_S", 0.001)
    platform = Platform(Settings(data_dir=tmp_path, _env_file=None), DataFolder(tmp_path, 0), lines.append)
    platform._register_demo()
    assert lines == ["The registry is waited for: MLflow can't be used."]
    assert platform._refused is None


def test_a_disk_that_is_full_later_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    settings = Settings(data_dir=tmp_path, _env_file=None)
    platform = Platform(settings, DataFolder(tmp_path, 0), lines.append)
    for left in (0, 0, 1 << 30, 0):
        monkeypatch.setattr(DataFolder, "look", lambda folder, left=left: left)
        platform._check()
    assert lines == [f"The disk of {tmp_path} is full: make room there, jobs fail until there is some."] * 2


def test_what_libraries_print_goes_to_a_file_meanwhile(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ours = sys.stdout
    with quiet(tmp_path / "ray.log"):
        os.write(2, b"infinite retries\n")
        print("(raylet) Task ServeController.graceful_shutdown failed")
        print("Stopping ...", file=ours)
    os.write(2, b"after\n")
    assert (tmp_path / "ray.log").read_text() == (
        "infinite retries\n(raylet) Task ServeController.graceful_shutdown failed\n"
    )
    assert capfd.readouterr() == ("Stopping ...\n", "after\n")
