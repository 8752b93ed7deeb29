"""The files of a folder of artifacts: what was written outlives a power cut, what is deleted is deleted once.

A file that was closed is in the machine's memory; the disk has it, and the name that leads to it, after an fsync of the
file and of each folder on its path. A row that names the file is committed later, so that it never outlives it.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import re
import secrets
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

LOCK = "deleting.lock"
"""The file whose lock is held by the process that deletes; it lies beside the tenants' folders."""

_DRAFT = re.compile(r"[0-9a-f]{64}\.[a-z0-9]{1,8}#[0-9a-f]+")
"""Names of files that are being written, by obstore's writes of before, too."""


class Folder:
    """Writes and deletes files by keys `{tenant}/{shard}/{name}`.

    Methods block for the disk; any of them raises `OSError` where it refuses.

    Args:
        root: The folder; it is made where there is none.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lasting: set[Path] = set()  # folders whose names are known to be on the disk
        with contextlib.suppress(PermissionError):  # of a folder above that others made and may not be read
            _make(root)

    def put(self, key: str, data: bytes) -> None:
        """Write a file unless it has these bytes already; when this returns, the disk has it.

        It appears whole, in place of one with other bytes; writers of equal keys do not disturb each other.
        """
        file = self._root / key
        for folder in (file.parents[1], file.parents[0]):
            if folder not in self._lasting or not folder.is_dir():
                _make(folder)
                self._lasting.add(folder)
        if not _has(file, data):
            draft = file.with_name(f"{file.name}#{secrets.token_hex(8)}")
            try:
                with draft.open("xb") as stream:
                    stream.write(data)
                    stream.flush()
                    os.fsync(stream.fileno())
                draft.replace(file)
            except BaseException:
                draft.unlink(missing_ok=True)
                raise
        _sync(file.parent)

    def delete(self, wanted: Callable[[], Collection[str]]) -> dict[str, Exception | None]:
        """Delete the files that `wanted` names; one that is not there is deleted.

        Args:
            wanted: Keys. Called when no other process deletes in this folder, nor will until the files are gone: a
                process that stands still meanwhile keeps the others from it, one that ends does not.

        Returns:
            What kept each of them from being deleted, if anything did.

        Raises:
            BlockingIOError: Another process deletes now.
        """
        with self._alone():
            return {key: _deleted(self._root / key) for key in wanted()}

    def clean(self, before: float) -> int:
        """Delete what writes left that were cut off.

        Args:
            before: Epoch seconds; what was written to later is left alone, for its writer may live.

        Returns:
            How many there were.
        """
        deleted = 0
        for file in self._root.glob("*/*/*#*"):
            with contextlib.suppress(FileNotFoundError):
                if _DRAFT.fullmatch(file.name) and file.stat().st_mtime < before:
                    file.unlink()
                    deleted += 1
        return deleted

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with (self._root / LOCK).open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield


def _has(file: Path, data: bytes) -> bool:
    """Whether a file has these bytes and no others; then the disk has them, too."""
    try:
        with file.open("rb") as stream:
            if os.fstat(stream.fileno()).st_size != len(data) or stream.read() != data:
                return False
            os.fsync(stream.fileno())
            return True
    except OSError:  # there is none, or the disk cannot read it: it is written anew
        return False


def _deleted(file: Path) -> OSError | None:
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        return error
    return None


def _make(folder: Path) -> None:
    """Make a folder where there is none; the disk has its name then, whoever made it, and those of what it lies in."""
    above = list(itertools.takewhile(lambda one: not one.is_dir(), folder.parents))
    folder.mkdir(parents=True, exist_ok=True)
    for one in (*reversed(above), folder):
        _sync(one.parent)


def _sync(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
