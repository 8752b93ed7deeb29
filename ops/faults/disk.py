"""A disk of the campaign's own: its power is cut, there is no room on it, a file cannot be deleted.

An ext4 in a sparse file on a loop device, mounted at a folder.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import signal
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

PROGRAMS = ("mkfs.ext4", "mount", "umount", "chattr")

CAPABILITIES = {"CAP_LINUX_IMMUTABLE": 9, "CAP_SYS_ADMIN": 21}
"""Their bits. Root in a container has neither, unless it is given them."""

STOPPED_WITHIN_S = 30.0

_SHUTDOWN = 0x8004587D
"""The ioctl EXT4_IOC_SHUTDOWN, `_IOR('X', 125, __u32)`: nothing is read from or written to the file system any more."""

_NO_LOG_FLUSH = 2
"""What is in memory is not written before that, neither files nor the journal."""


class Disk:
    """An ext4 of its own at a folder, while the block runs; what is on it is gone with it.

    Args:
        folder: Where it is mounted; made where it is not there. The file it lies in, and its copy, are beside it.
        size: Bytes; they take room where something was written.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        self._size = size
        self._image, self._copy = (folder.with_name(f"{folder.name}.{kind}") for kind in ("disk", "copy"))
        self._changing = threading.Lock()  # a power cut, and what begins or ends on the disk meanwhile

    @staticmethod
    def possible() -> str | None:
        """Why there can be none here."""
        if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
            return f"a disk of one's own takes {', '.join(missing)}: apt-get install e2fsprogs mount"
        if not Path("/dev/loop-control").exists():
            return "a disk of one's own takes loop devices, and there is no /dev/loop-control"
        status = Path("/proc/self/status").read_text()
        held = int(next(line for line in status.splitlines() if line.startswith("CapEff:")).split()[1], 16)
        if lacking := [name for name, bit in CAPABILITIES.items() if not held >> bit & 1]:
            return f"a disk of one's own takes root with {' and '.join(lacking)}"
        return None

    def __enter__(self) -> Self:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._image.open("wb") as file:
                file.truncate(self._size)
            # All of it now: otherwise the kernel goes on making the file system for a while after it was mounted.
            _run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", self._image)
            self._mount()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._changing:
            if self.folder.is_mount():
                self._unmount()
            for file in (self._image, self._copy):
                file.unlink(missing_ok=True)

    def cut(
        self, kill: Callable[[], object] = lambda: None, processes: Callable[[], Iterable[int]] = lambda: ()
    ) -> None:
        """Cut the power: the folder holds what was on the disk at that moment, and nothing that was only in memory.

        What was sent to the disk counts as on it: it has no cache of its own to lose. Whoever else has a file of the
        old disk open has only errors from it.

        Args:
            kill: Ends all processes that use the disk. They stand still then, so only SIGKILL reaches them.
            processes: Lists them. They are stopped before the disk is, so none sees it fail.

        Raises:
            RuntimeError: The processes do not stop, or the disk can't be mounted again.
        """
        with self._changing:
            try:
                _stop(processes)
                folder = os.open(self.folder, os.O_RDONLY)
                try:
                    fcntl.ioctl(folder, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
                finally:
                    os.close(folder)
            finally:
                kill()
            # The old file system stays for as long as a file of it is open, and with it its image, so there is another.
            _run("cp", "--sparse=always", self._image, self._copy)
            self._unmount()
            self._copy.replace(self._image)
            self._mount()

    @contextlib.contextmanager
    def fill(self) -> Iterator[None]:
        """Leave no room while the block runs: what needs one more block is refused, what overwrites is not."""
        filler = self.folder / "filler"
        try:
            with self._changing:
                _fill(filler)
            yield
        finally:
            with self._changing:
                filler.unlink(missing_ok=True)  # it may have gone in a power cut
                _sync(self.folder)  # or the next one would bring it back

    @contextlib.contextmanager
    def freeze_file(self, path: Path) -> Iterator[None]:
        """Make a file immutable while the block runs: it can be read, and neither written, replaced nor deleted.

        Raises:
            RuntimeError: There is no such file.
        """
        try:
            with self._changing:
                _run("chattr", "+i", path)
            yield
        finally:
            with self._changing:
                if path.exists():  # it may have gone in a power cut
                    _run("chattr", "-i", path)
                    _sync(path)

    def _mount(self) -> None:
        _run("mount", "-o", "loop", self._image, self.folder)

    def _unmount(self) -> None:
        """At once, even where a file is open: the kernel frees the loop device when the last one is closed."""
        _run("umount", "--lazy", self.folder)


def _stop(processes: Callable[[], Iterable[int]]) -> None:
    """SIGSTOP all processes, those too that others start meanwhile, and wait until they stand still."""
    deadline = time.monotonic() + STOPPED_WITHIN_S
    while running := [pid for pid in processes() if not _stands(pid)]:
        if time.monotonic() > deadline:
            raise RuntimeError(f"processes {running} have not stopped within {STOPPED_WITHIN_S:.0f} s")
        for pid in running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        time.sleep(0.005)


def _stands(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
    return True


def _fill(filler: Path) -> None:
    """Give a file all blocks that are free, without writing them: asked for more, ext4 gives those and then refuses."""
    disk = os.statvfs(filler.parent)
    with filler.open("wb") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, disk.f_blocks * disk.f_frsize)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


def _sync(path: Path) -> None:
    """Have on the disk what a file holds and is, or a folder lists."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed: {done.stdout}{done.stderr}")
