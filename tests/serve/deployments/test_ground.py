"""What is looked at before anything is started."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from serve.config import Settings
from serve.deployments.ground import DataFolder, PlatformError, free_ports, require_ports, require_room, require_sound
from serve.errors import OperatorError
from serve.jobs.database import open_database

GARBAGE = b"this is no database\n" * 300


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


@pytest.fixture
def free() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def refusal(folder: Path, room: int = 0) -> str:
    with pytest.raises(OperatorError) as caught, DataFolder(folder, room).hold():
        pass
    return str(caught.value)


def test_a_folder_has_one_platform(tmp_path: Path) -> None:
    with DataFolder(tmp_path, 0).hold():
        assert refusal(tmp_path) == (
            f"Another platform runs on {tmp_path}: stop it, or set CN_DATA_DIR to another folder."
        )


def test_a_folder_is_free_when_its_platform_has_ended(tmp_path: Path) -> None:
    for _ in range(2):
        with DataFolder(tmp_path, 0).hold():
            pass


def test_a_folder_that_a_file_is_in_the_way_of_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert refusal(tmp_path / "file") == (
        f"CN_DATA_DIR is {tmp_path / 'file'}, which can't be written: it is a file. Set it to a folder that can be."
    )
    assert "a file is in its way" in refusal(tmp_path / "file" / "data")


def test_a_folder_that_can_not_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert "can't be written: Permission denied. Set it" in refusal(tmp_path / "data")


def test_a_disk_without_room_is_told(tmp_path: Path) -> None:
    room = shutil.disk_usage(tmp_path).free * 2
    assert f"The disk of {tmp_path} has" in refusal(tmp_path, room)
    with pytest.raises(PlatformError, match="RAY_TMPDIR"):
        require_room(tmp_path / "not" / "there", room, "RAY_TMPDIR")


@pytest.mark.parametrize("name", ["jobs.db", "mlflow.db"])
def test_a_file_that_is_no_database_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(GARBAGE)
    assert refusal(tmp_path) == (
        f"The database {tmp_path / name} is damaged (file is not a database): put a copy of it in its place, or move "
        "the file away to begin anew."
    )


def test_a_sound_database_is_taken_whatever_its_folder_is_called(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "a%20b?#ü", _env_file=None)
    open_database(settings.database_url).dispose()
    require_sound(settings.data_dir / "jobs.db")
    assert (settings.data_dir / "jobs.db").is_file()


def test_a_folder_that_stays_is_left_alone(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data", 0)
    with folder.hold():
        (tmp_path / "data" / "jobs.db").touch()
        folder.watch("jobs.db")
        assert folder.look() > 0


def test_a_folder_that_was_removed_is_noticed(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "data", 0)
    with folder.hold():
        shutil.rmtree(tmp_path / "data")
        with pytest.raises(PlatformError, match="was removed or moved while the platform ran"):
            folder.look()


def test_a_database_that_was_replaced_is_noticed(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path, 0)
    with folder.hold():
        (tmp_path / "jobs.db").touch()
        (tmp_path / "other").touch()
        folder.watch("jobs.db")
        (tmp_path / "other").replace(tmp_path / "jobs.db")
        with pytest.raises(PlatformError, match=r"jobs\.db was removed"):
            folder.look()


@pytest.mark.parametrize("variable", ["CN_PORT", "CN_METRICS_PORT"])
def test_a_port_in_use_is_named_with_its_variable(taken: int, free: int, variable: str) -> None:
    ports = {"port": free, "metrics_port": free, variable.removeprefix("CN_").lower(): taken}
    with pytest.raises(PlatformError) as caught:
        require_ports(Settings(**ports, _env_file=None))
    assert str(caught.value) == (
        f"Port {taken} of 127.0.0.1 is in use by another program: stop that program, or set {variable} to another port."
    )


def test_the_two_ports_differ(free: int) -> None:
    with pytest.raises(PlatformError, match=f"CN_PORT and CN_METRICS_PORT are both {free}"):
        require_ports(Settings(port=free, metrics_port=free, _env_file=None))


def test_a_host_that_is_not_here_is_named(free: int) -> None:
    with pytest.raises(PlatformError, match=r"CN_HOST is '192\.0\.2\.1', which is no address of this machine"):
        require_ports(Settings(host="192.0.2.1", port=free, metrics_port=0, _env_file=None))


def test_ports_that_are_free_are_left_so(free: int) -> None:
    for _ in range(2):
        require_ports(Settings(port=free, metrics_port=0, _env_file=None))


def test_ports_are_free_and_differ() -> None:
    ports = free_ports(4)
    assert len(set(ports)) == 4
    for port in ports:
        with socket.socket() as one:
            one.bind(("", port))
