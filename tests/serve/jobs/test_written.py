"""What the system tells of writes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from serve.jobs.written import Written

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Written]:
    found = Written(tmp_path, frozenset({"jobs.db", "jobs.db-wal"}))
    yield found
    found.close()


def test_nothing_is_told_before_anything_is_written(written: Written) -> None:
    assert not written.read()


@pytest.mark.parametrize("name", ["jobs.db", "jobs.db-wal"])
def test_a_write_to_one_of_the_files_is_told_once(written: Written, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    assert written.read()
    assert not written.read()


def test_a_file_that_is_put_in_place_is_told(written: Written, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"x")
    assert not written.read()
    (tmp_path / "other").rename(tmp_path / "jobs.db")
    assert written.read()


def test_writes_to_others_are_not_told(written: Written, tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"x")
    assert not written.read()


def test_more_than_the_system_keeps_is_told(written: Written, tmp_path: Path) -> None:
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    with (tmp_path / "a").open("wb", buffering=0) as a, (tmp_path / "b").open("wb", buffering=0) as b:
        for _ in range(most):
            a.write(b"x")  # equal events in a row are one
            b.write(b"x")
    assert any(written.read() for _ in range(most))


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="none"):
        Written(tmp_path / "none", frozenset())
