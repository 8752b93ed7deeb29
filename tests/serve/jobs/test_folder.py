from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ops.faults.disk import Disk
from serve.jobs.folder import Folder

KEY = "demo/ab/ab.png"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What is synced and renamed, in order; a draft without its number."""
    steps: list[str] = []
    sync, replace = os.fsync, Path.replace

    def name(path: str | Path) -> str:
        return str(Path(path).relative_to(tmp_path)).partition("#")[0]

    def synced(number: int) -> None:
        sync(number)
        steps.append(f"sync {name(os.readlink(f'/proc/self/fd/{number}'))}")

    def replaced(self: Path, target: Path) -> Path:
        steps.append(f"rename to {name(target)}")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    return steps


def test_a_file_is_on_the_disk_before_its_name_and_all_of_it_at_the_end(folder: Folder, steps: list[str]) -> None:
    folder.put(KEY, b"pixels")
    assert steps == ["sync .", "sync demo", f"sync {KEY}", f"rename to {KEY}", "sync demo/ab"]


def test_folders_that_are_known_to_be_on_the_disk_are_not_synced_again(folder: Folder, steps: list[str]) -> None:
    folder.put(KEY, b"pixels")
    steps.clear()
    folder.put("demo/ab/other.png", b"pixels")
    assert steps == ["sync demo/ab/other.png", "rename to demo/ab/other.png", "sync demo/ab"]


def test_what_another_process_wrote_may_not_be_on_the_disk_yet(
    tmp_path: Path, folder: Folder, steps: list[str]
) -> None:
    (tmp_path / KEY).parent.mkdir(parents=True)
    (tmp_path / KEY).write_bytes(b"pixels")
    folder.put(KEY, b"pixels")
    assert steps == ["sync .", "sync demo", f"sync {KEY}", "sync demo/ab"]


def test_folders_that_it_lies_in_are_on_the_disk(tmp_path: Path, steps: list[str]) -> None:
    Folder(tmp_path / "data" / "artifacts")
    assert steps == ["sync .", "sync data"]


def test_a_folder_that_was_deleted_is_made_again(tmp_path: Path, folder: Folder) -> None:
    folder.put(KEY, b"pixels")
    shutil.rmtree(tmp_path / "demo")
    folder.put(KEY, b"pixels")
    assert (tmp_path / KEY).read_bytes() == b"pixels"


@pytest.mark.parametrize("found", [b"", b"pixelz", b"pixels and more"])
def test_other_bytes_are_replaced(tmp_path: Path, folder: Folder, found: bytes) -> None:
    folder.put(KEY, found)
    folder.put(KEY, b"pixels")
    assert (tmp_path / KEY).read_bytes() == b"pixels"


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.put("demo/ab/other.png", b"pixels")

    def fails(number: int) -> None:
        raise OSError("the disk")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="the disk"):
        folder.put(KEY, b"pixels")
    assert [path.name for path in (tmp_path / "demo/ab").iterdir()] == ["other.png"]


def test_writers_of_equal_bytes_do_not_disturb_each_other(tmp_path: Path, folder: Folder) -> None:
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(folder.put, KEY, b"x" * 100_000) for _ in range(40)]:
            done.result()
    assert [path.name for path in (tmp_path / "demo/ab").iterdir()] == ["ab.png"]
    assert (tmp_path / KEY).stat().st_size == 100_000


# Deletion


def test_what_cannot_be_deleted_keeps_no_other(tmp_path: Path, folder: Folder) -> None:
    keys = [f"demo/ab/{name}.png" for name in "abc"]
    for key in (keys[0], keys[2]):
        folder.put(key, b"pixels")
    (tmp_path / keys[1]).mkdir()
    ends = folder.delete(lambda: keys)
    assert [type(ends[key]) for key in keys] == [type(None), IsADirectoryError, type(None)]
    assert [path.name for path in (tmp_path / "demo/ab").iterdir()] == ["b.png"]


def test_one_process_deletes_at_a_time(tmp_path: Path, folder: Folder) -> None:
    folder.put(KEY, b"pixels")

    def meanwhile() -> list[str]:
        with pytest.raises(BlockingIOError):
            Folder(tmp_path).delete(lambda: [KEY])
        assert (tmp_path / KEY).exists()
        return [KEY]

    assert folder.delete(meanwhile) == {KEY: None}


def test_a_process_that_stands_still_keeps_others_from_deleting_until_it_ends(tmp_path: Path, folder: Folder) -> None:
    program = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom serve.jobs.folder import Folder\n"
        "Folder(Path(sys.argv[1])).delete(lambda: os.kill(os.getpid(), signal.SIGSTOP))"
    )
    process = subprocess.Popen([sys.executable, "-c", program, tmp_path])
    try:
        assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
        with pytest.raises(BlockingIOError):
            folder.delete(lambda: [KEY])
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert folder.delete(lambda: [KEY]) == {KEY: None}


# A power cut


def test_what_was_put_outlives_a_power_cut(disk: Disk) -> None:
    Folder(disk.folder / "data" / "artifacts").put(KEY, b"pixels" * 1000)
    disk.cut()
    assert (disk.folder / "data" / "artifacts" / KEY).read_bytes() == b"pixels" * 1000


def test_what_is_closed_and_not_synced_does_not(disk: Disk) -> None:
    """Why the others can fail: what is left is what the disk has, not what the machine has in its memory."""
    (disk.folder / "file").write_bytes(b"pixels" * 1000)
    disk.cut()
    assert not (disk.folder / "file").exists()


def test_an_equal_write_of_another_process_outlives_it_too(disk: Disk) -> None:
    (disk.folder / KEY).parent.mkdir(parents=True)
    (disk.folder / KEY).write_bytes(b"pixels" * 1000)  # and it has not synced it yet
    Folder(disk.folder).put(KEY, b"pixels" * 1000)
    disk.cut()
    assert (disk.folder / KEY).read_bytes() == b"pixels" * 1000
