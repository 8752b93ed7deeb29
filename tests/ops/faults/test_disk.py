"""The disk of a campaign: what outlives a power cut, and what is refused where it is full or a file is immutable."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from itertools import chain, repeat
from pathlib import Path

import pytest

from ops.faults.disk import Disk

ROOT = Path(__file__).parents[3]
OLD, NEW = b"old" * 1000, b"new" * 1000

WRITER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA journal_mode = WAL")
database.execute("PRAGMA synchronous = FULL")
database.execute("CREATE TABLE jobs (number INTEGER)")
number = 0
while True:
    database.execute("INSERT INTO jobs VALUES (?)", (number,))
    print(number, flush=True)  # as an answer of 202: from now on it is on the disk
    number += 1
"""


def write(file: Path, content: bytes, *, synced: bool) -> None:
    """Bytes from the file's beginning on, in place: what is cut off and written anew, ext4 syncs by itself."""
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT), "wb") as opened:
        opened.write(content)
        opened.flush()
        if synced:
            os.fsync(opened.fileno())


def sync(disk: Disk) -> None:
    subprocess.run(["sync", "--file-system", disk.folder], check=True)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "infinity"]) as process:
        yield process
        process.kill()


def devices(folder: Path) -> list[str]:
    """Files of a folder that loop devices have."""
    files = [file.read_text().strip() for file in Path("/sys/block").glob("loop*/loop/backing_file")]
    return [file for file in files if file.startswith(str(folder))]


# A power cut


def test_what_was_synced_outlives_a_power_cut(disk: Disk) -> None:
    write(disk.folder / "file", OLD, synced=True)
    disk.cut()
    assert (disk.folder / "file").read_bytes() == OLD


def test_what_was_not_synced_is_gone(disk: Disk) -> None:
    write(disk.folder / "file", OLD, synced=True)
    write(disk.folder / "file", NEW, synced=False)
    disk.cut()
    assert (disk.folder / "file").read_bytes() == OLD


def test_there_can_be_a_second_power_cut(disk: Disk) -> None:
    for number in range(2):
        write(disk.folder / f"{number}", OLD, synced=True)
        disk.cut()
    assert [(disk.folder / f"{number}").read_bytes() for number in range(2)] == [OLD, OLD]


def test_a_database_that_is_written_to_has_all_that_it_said_it_has(disk: Disk) -> None:
    file = disk.folder / "jobs.db"
    with subprocess.Popen([sys.executable, "-c", WRITER, file], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        said = [int(writer.stdout.readline()) for _ in range(50)]
        disk.cut(writer.kill, lambda: [writer.pid])
        said += [int(line) for line in writer.stdout]
    with closing(sqlite3.connect(file)) as database:
        numbers = [number for (number,) in database.execute("SELECT number FROM jobs ORDER BY number")]
        assert numbers[: len(said)] == said
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_processes_stand_still_until_they_are_killed(disk: Disk, sleeper: subprocess.Popen[bytes]) -> None:
    found = []

    def kill() -> None:
        found.append(os.waitid(os.P_PID, sleeper.pid, os.WSTOPPED | os.WNOHANG))
        sleeper.kill()
        sleeper.wait()

    disk.cut(kill, lambda: [sleeper.pid])
    assert found[0] is not None
    assert found[0].si_status == signal.SIGSTOP


def test_processes_that_others_start_meanwhile_stand_still_too(disk: Disk, sleeper: subprocess.Popen[bytes]) -> None:
    with subprocess.Popen(["sleep", "infinity"]) as late:
        lists = chain([[sleeper.pid]], repeat([sleeper.pid, late.pid]))
        stopped = []

        def kill() -> None:
            for process in (sleeper, late):
                stopped.append(os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOHANG))
                process.kill()

        disk.cut(kill, lambda: next(lists))
    assert None not in stopped


def test_who_has_a_file_open_does_not_hold_a_power_cut_up_and_has_nothing_of_the_new_disk(disk: Disk) -> None:
    write(disk.folder / "file", OLD, synced=True)
    with (disk.folder / "file").open("r+b", buffering=0) as file:
        disk.cut()
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            file.write(NEW)
    assert (disk.folder / "file").read_bytes() == OLD


# No room


def test_a_full_disk_refuses_writes_and_takes_them_afterwards(disk: Disk) -> None:
    with disk.fill(), pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        write(disk.folder / "file", b"1", synced=True)
    write(disk.folder / "file", OLD, synced=True)
    assert (disk.folder / "file").read_bytes() == OLD


def test_there_is_no_room_between_files_either(disk: Disk) -> None:
    files = [disk.folder / f"{number}" for number in range(400)]
    for file in files:
        write(file, OLD, synced=False)
    sync(disk)
    for file in files[::2]:
        file.unlink()
    with disk.fill(), pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        write(disk.folder / "file", b"1", synced=True)


def test_there_is_room_again_after_a_power_cut_on_a_full_disk(disk: Disk) -> None:
    with disk.fill():
        disk.cut()
    write(disk.folder / "file", OLD, synced=True)
    assert (disk.folder / "file").read_bytes() == OLD


# A file that cannot be deleted


def test_a_disk_that_was_full_is_not_full_again_after_a_power_cut(disk: Disk) -> None:
    with disk.fill():
        os.sync()
    disk.cut()
    assert shutil.disk_usage(disk.folder).free > 0
    assert not (disk.folder / "filler").exists()


def test_a_file_that_was_immutable_is_not_again_after_a_power_cut(disk: Disk) -> None:
    file = disk.folder / "kept"
    file.write_bytes(b"pixels")
    with disk.freeze_file(file):
        os.sync()
    disk.cut()
    file.unlink()


def test_an_immutable_file_can_be_read_and_neither_deleted_nor_replaced(disk: Disk) -> None:
    file, other = disk.folder / "file", disk.folder / "other"
    write(file, OLD, synced=True)
    write(other, NEW, synced=True)
    with disk.freeze_file(file):
        with pytest.raises(PermissionError):
            file.unlink()
        with pytest.raises(PermissionError):
            other.replace(file)
        assert file.read_bytes() == OLD
    file.unlink()
    assert not file.exists()


def test_a_file_is_not_immutable_for_ever_where_power_is_cut_meanwhile(disk: Disk) -> None:
    file = disk.folder / "file"
    write(file, OLD, synced=True)
    with disk.freeze_file(file):
        sync(disk)
        disk.cut()
        with pytest.raises(PermissionError):
            file.unlink()
    file.unlink()
    assert not file.exists()


def test_what_ends_during_a_power_cut_ends_on_the_new_disk(disk: Disk) -> None:
    file = disk.folder / "file"
    write(file, OLD, synced=True)
    frozen = ExitStack()
    frozen.enter_context(disk.freeze_file(file))
    sync(disk)
    with ThreadPoolExecutor(1) as thread:
        disk.cut(lambda: thread.submit(frozen.close))
    file.unlink()
    assert not file.exists()


def test_a_file_that_a_power_cut_takes_need_not_be_freed(disk: Disk) -> None:
    seldom = ["mount", "-o", "remount,commit=300", disk.folder]  # no names are written meanwhile
    subprocess.run(seldom, check=True)
    file = disk.folder / "file"
    write(file, OLD, synced=False)
    with disk.freeze_file(file):
        disk.cut()
    assert not file.exists()


# The disk itself


def test_nothing_is_left_of_it(disk: Disk, tmp_path: Path) -> None:
    with Disk(tmp_path / "another", 8 << 20) as another:
        (another.folder / "file").write_bytes(OLD)
        another.cut()
        assert len(devices(tmp_path)) == 2
    assert [Path(file).name for file in devices(tmp_path)] == ["disk.disk"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["another", "disk", "disk.disk"]
    assert list(another.folder.iterdir()) == []


def test_one_that_cannot_be_made_leaves_nothing(disk: Disk, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"mkfs\.ext4 failed"), Disk(tmp_path / "another", 1 << 10):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["another", "disk", "disk.disk"]


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert str(Disk.possible()).startswith("a disk of one's own takes mkfs.ext4, mount, umount, chattr:")


def test_what_is_not_allowed_is_named(disk: Disk) -> None:
    program = "from ops.faults.disk import Disk; print(Disk.possible())"
    command = ["setpriv", "--bounding-set=-sys_admin", sys.executable, "-c", program]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert said == "a disk of one's own takes root with CAP_SYS_ADMIN\n"
