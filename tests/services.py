"""Servers that tests bring with them: real ones, from Debian and npm packages, on this machine only.

`Postgres` needs Debian's `postgresql`. Where it is missing, tests that need it are skipped and say so.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self


class Missing(RuntimeError):
    """A service's programs are not installed: how to get them."""


class Postgres:
    """A PostgreSQL server of one's own: an empty cluster on a socket in a private folder, gone at the end.

    It does not wait for the disk (tests end with the machine's life, at the latest), and runs as the user `postgres`
    where the tests run as root, as whom it refuses to start.
    """

    def __init__(self) -> None:
        self._bin = _postgres_programs()
        self._server: subprocess.Popen[bytes] | None = None
        # The kernel ends it with its parent, however that ends.
        self._as: list[str] = ["setpriv", "--pdeathsig=QUIT"]
        self.folder = Path(tempfile.mkdtemp(prefix="cn-postgres-", dir="/tmp"))  # a socket's path must be short
        if os.geteuid() == 0:
            self._as += ["--reuid=postgres", "--regid=postgres", "--clear-groups"]
            shutil.chown(self.folder, "postgres", "postgres")

    def __enter__(self) -> Self:
        try:
            self._run("initdb", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-sync", "--no-locale")
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop(crash=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str = "postgres") -> str:
        """SQLAlchemy URL of a database."""
        return f"postgresql+psycopg://postgres@/{database}?host={self.folder}"

    def start(self) -> None:
        """Start, and wait until it answers. It ends with the *thread* that calls this: that is, the main one."""
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": self.folder,
            "fsync": "off",
            "full_page_writes": "off",
            "autovacuum": "off",
            "shared_buffers": "32MB",
        }
        options = [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
        with (self.folder / "server.log").open("ab") as log:
            self._server = subprocess.Popen(
                [*self._as, self._bin / "postgres", "-D", self.folder / "data", *options],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 30
        while subprocess.run([self._bin / "pg_isready", "-q", "-h", self.folder], check=False).returncode != 0:
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {(self.folder / 'server.log').read_text()}")
            time.sleep(0.02)

    def stop(self, *, crash: bool = False) -> None:
        """Stop it: sessions are cut off in order, or as a crash would."""
        if self._server is not None:
            self._server.send_signal(signal.SIGQUIT if crash else signal.SIGINT)
            self._server.wait()
            self._server = None

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as, str(self._bin / program), f"--pgdata={self.folder / 'data'}", *arguments]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{program} failed: {done.stdout}{done.stderr}")


def _postgres_programs() -> Path:
    found = shutil.which("initdb")
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found is None and not versions:
        raise Missing("PostgreSQL is not installed: apt-get install postgresql")
    return (versions[-1] if versions else Path(str(found)).resolve()).parent
