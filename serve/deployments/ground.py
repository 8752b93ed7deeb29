"""What must be so before anything is started, and while it runs: the data folder and the ports.

It is looked at first and without Ray, so that who starts the platform is told within a second what to change.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from serve.config import JOBS, MLFLOW, Settings
from serve.errors import OperatorError

ROOM = 256 << 20
"""Bytes that must be free to start: the shipped model is stored twice, and Ray and the databases write besides."""

LAST_ROOM = 16 << 20
"""Bytes below which a disk is as good as full."""

LOCK = "lock"


class PlatformError(OperatorError, RuntimeError):
    """The platform can't start or go on; the message says what to change."""


class DataFolder:
    """The folder that everything is kept in, held by one platform at a time.

    Two platforms over one SQLite folder would steal each other's jobs and ports.

    Args:
        path: Of the folder; `hold` makes it.
        room: Bytes that must be free in it to start.
    """

    def __init__(self, path: Path, room: int = ROOM) -> None:
        self.path = path.resolve()
        self._room = room
        self._files: dict[Path, os.stat_result] = {}

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Hold it.

        Raises:
            PlatformError: It can't be made or written, another platform holds it, or its disk is full.
            DatabaseDamaged: A database in it is.
        """
        with _told(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / LOCK).open("ab")
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise PlatformError(
                    f"Another platform runs on {self.path}: stop it, or set CN_DATA_DIR to another folder."
                ) from None
            require_room(self.path, self._room, "CN_DATA_DIR")
            for name in (JOBS, MLFLOW):
                require_sound(self.path / name)
            self.watch(LOCK)
            yield

    def watch(self, name: str) -> None:
        """Have `look` look at a file of it, too, which is there, and which a process keeps open: its number is its own.

        It is not opened here: whoever closes a SQLite file takes the locks of all its process from it.
        """
        self._files[self.path / name] = (self.path / name).stat()

    def look(self) -> int:
        """Bytes that are free in it.

        Raises:
            PlatformError: It is no longer there, or no longer the same: what is stored now is lost.
        """
        for path, before in self._files.items():
            try:
                same = os.path.samestat(path.stat(), before)
            except OSError:
                same = False
            if not same:
                raise PlatformError(
                    f"{path} was removed or moved while the platform ran, so it stops: what it is given now would be "
                    "lost. Put it back, and start again by `cnserve up`."
                )
        return shutil.disk_usage(self.path).free


def require_room(folder: Path, room: int, variable: str) -> None:
    """Refuse a full disk.

    Args:
        folder: On the disk; it, or a folder above it, is there.
        room: Bytes that must be free.
        variable: Names the folder in the environment.

    Raises:
        PlatformError: Less is free.
    """
    free = shutil.disk_usage(next(there for there in (folder, *folder.parents) if there.exists())).free
    if free < room:
        raise PlatformError(
            f"The disk of {folder} has {free / 1e6:.0f} MB left, and {room / 1e6:.0f} MB are needed: make room, "
            f"or set {variable} to a folder on another disk."
        )


def require_sound(file: Path) -> None:
    """Refuse a SQLite file that is damaged; one that is not there is made later.

    Raises:
        DatabaseDamaged: It is.
    """
    if not file.exists():
        return
    try:
        with contextlib.closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True, timeout=30)) as database:
            database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError as error:
        from serve.jobs.database import damaged

        raise damaged(file, error) from error


def require_ports(settings: Settings) -> None:
    """Refuse ports that the api could not listen on.

    Raises:
        PlatformError: One is another program's, or not this user's or machine's to take.
    """
    if settings.port == settings.metrics_port:
        raise PlatformError(f"CN_PORT and CN_METRICS_PORT are both {settings.port}: set one of them to another port.")
    for variable, port in (("CN_PORT", settings.port), ("CN_METRICS_PORT", settings.metrics_port)):
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(
                settings.host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do
                probe.bind(address)
                probe.listen(1)
        except OSError as error:
            raise PlatformError(_refused(error, settings.host, port, variable)) from error


def _refused(error: OSError, host: str, port: int, variable: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} of {host} is in use by another program: stop that program, or set {variable} to another port."
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"Port {port} of {host} is not for this user: set {variable} to a port from 1024."
    return f"CN_HOST is {host!r}, which is no address of this machine ({error.strerror}): set 127.0.0.1 or 0.0.0.0."


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens on; another program may take one before it is used."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for held_socket in sockets:
            held_socket.bind(("", 0))
        return [held_socket.getsockname()[1] for held_socket in sockets]


def ray_folder() -> Path:
    """Where Ray makes its folder."""
    return Path(os.environ.get("RAY_TMPDIR", "/tmp"))


@contextlib.contextmanager
def _told(folder: Path) -> Iterator[None]:
    """What the file system refuses is told as what is wrong with the folder."""
    try:
        yield
    except OSError as error:
        reason = {
            errno.ENOSPC: "its disk is full",
            errno.EDQUOT: "the quota of its disk is used up",
            errno.EROFS: "its disk is read-only",
            errno.EEXIST: "it is a file",
            errno.ENOTDIR: "a file is in its way",
        }.get(error.errno or 0, error.strerror or str(error))
        raise PlatformError(
            f"CN_DATA_DIR is {folder}, which can't be written: {reason}. Set it to a folder that can be."
        ) from error
