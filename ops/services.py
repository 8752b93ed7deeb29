"""Servers that tests and measurements bring with them: real ones, from Debian and npm packages, on this machine only.

`make services` installs what they need: Debian's `postgresql` and `libfaketime`, npm's `azurite`. Where one is missing,
the tests that need it are skipped and say so.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from email.utils import formatdate
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import psutil

AZURITE = Path(__file__).parents[1] / "build/services/node_modules/.bin/azurite-blob"

LIBRARIES = Path("/usr/lib")
"""Where Debian has those of each architecture."""


class Missing(RuntimeError):
    """A service's programs are not installed: how to get them."""


class Postgres:
    """A PostgreSQL server of one's own, with a socket in a private folder that is gone at the end.

    It runs as the user `postgres` where the tests run as root, as whom it refuses to start.

    Args:
        durable: Whether what it commits outlives a power cut: `fsync`, `full_page_writes` and `autovacuum` are on, as
            by default. Tests need none of them: they end with the machine's life, at the latest.
        data: The cluster's folder, which stays at the end; a cluster that is there already goes on. The server's user
            must be able to enter the folders above it. In the private folder when absent.
        clock_offset_s: By how much the server's clock is ahead of the machine's, seconds.

    Raises:
        Missing: PostgreSQL is not installed, or, for another clock, libfaketime.
    """

    def __init__(self, *, durable: bool = False, data: Path | None = None, clock_offset_s: float = 0.0) -> None:
        self._with = _moved_clock(clock_offset_s) if clock_offset_s else []
        self._bin = _postgres_programs()
        self._durable = durable
        self._server: subprocess.Popen[bytes] | None = None
        # The kernel ends it with its parent, however that ends.
        self._as: list[str] = ["setpriv", "--pdeathsig=QUIT"]
        self.folder = Path(tempfile.mkdtemp(prefix="cn-postgres-", dir="/tmp"))  # a socket's path must be short
        self._data = (data or self.folder / "data").absolute()
        self._data.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            self._as += ["--reuid=postgres", "--regid=postgres", "--clear-groups"]
            for folder in (self.folder, self._data):
                shutil.chown(folder, "postgres", "postgres")

    def __enter__(self) -> Self:
        try:
            if not (self._data / "PG_VERSION").exists():
                sync = [] if self._durable else ["--no-sync"]
                self._run("initdb", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-locale", *sync)
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

    def start(self, *, standby: bool = False) -> None:
        """Start, and wait until it answers. It ends with the *thread* that calls this: that is, the main one.

        Args:
            standby: As a standby, which refuses writes and LISTEN until `promote`.
        """
        if standby:
            (self._data / "standby.signal").touch()
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": self.folder,
            "shared_buffers": "32MB",
        }
        if not self._durable:
            settings |= dict.fromkeys(("fsync", "full_page_writes", "autovacuum"), "off")
        options = [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
        with (self.folder / "server.log").open("ab") as log:
            self._server = subprocess.Popen(
                [*self._as, *self._with, self._bin / "postgres", "-D", self._data, *options],
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

    def promote(self) -> None:
        """Make the primary of a standby, and wait until it is."""
        self._run("pg_ctl", "promote")

    def stop(self, *, crash: bool = False) -> None:
        """Stop it: sessions are cut off in order, or as a crash would."""
        if self._server is not None:
            self._server.send_signal(signal.SIGQUIT if crash else signal.SIGINT)
            self._server.wait()
            self._server = None

    @property
    def running(self) -> bool:
        """Whether it was started, and has not ended since."""
        return self._server is not None and self._server.poll() is None

    def processes(self) -> list[int]:
        """The server's, and of those that it started."""
        if self._server is None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            return [
                self._server.pid,
                *(child.pid for child in psutil.Process(self._server.pid).children(recursive=True)),
            ]
        return []

    def kill(self) -> None:
        """SIGKILL to all of its processes: also to those that stand still."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._server is not None:
            self._server.wait()
            self._server = None

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as, str(self._bin / program), f"--pgdata={self._data}", *arguments]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{program} failed: {done.stdout}{done.stderr}")


class Azurite:
    """Azure's blob service as Microsoft's emulator of it, in memory, on a port of the loopback interface."""

    account = "devstoreaccount1"
    key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
    """Not a secret: the emulator has no other."""

    def __init__(self) -> None:
        if not AZURITE.exists():
            raise Missing("Azurite is not installed: make services")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def options(self) -> dict[str, str]:
        """Options of an `az://` store."""
        return self.options_at(self.port)

    def options_at(self, port: int) -> dict[str, str]:
        """The same by way of another port of the loopback interface, as of a proxy."""
        return {"account_name": self.account, "account_key": self.key, "endpoint": self._endpoint(port)}

    def _endpoint(self, port: int) -> str:
        return f"http://127.0.0.1:{port}/{self.account}"

    def start(self) -> None:
        """Start, and wait until it listens. What was stored before is gone."""
        options = ["--blobPort", str(self.port), "--inMemoryPersistence", "--extentMemoryLimit", "64"]
        quiet = ["--silent", "--disableTelemetry", "--skipApiVersionCheck"]
        command = ["setpriv", "--pdeathsig=KILL", str(AZURITE), *options, *quiet]
        self._server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                if self._server.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("Azurite did not start") from None
                time.sleep(0.05)

    def stop(self) -> None:
        """Stop it at once."""
        self._server.kill()
        self._server.wait()

    def make_container(self, name: str) -> None:
        """Make a container, which obstore cannot."""
        self._put(name, {"restype": "container"}, {})

    def lease(self, container: str, blob: str) -> None:
        """Keep others from deleting a blob."""
        how = {"x-ms-lease-action": "acquire", "x-ms-lease-duration": "-1"}
        self._put(f"{container}/{blob}", {"comp": "lease"}, how)

    def release(self, container: str, blob: str) -> None:
        """Let others delete it again."""
        how = {"x-ms-lease-action": "break", "x-ms-lease-break-period": "0"}
        self._put(f"{container}/{blob}", {"comp": "lease"}, how)

    def _put(self, path: str, query: dict[str, str], headers: dict[str, str]) -> None:
        """A request with the Shared Key authorization of the blob service's REST API."""
        headers |= {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
        named = [f"{name}:{value}" for name, value in sorted(headers.items())]
        asked = [f"{name}:{value}" for name, value in sorted(query.items())]
        text = "\n".join(["PUT", *[""] * 11, *named, f"/{self.account}/{self.account}/{path}", *asked])
        mac = hmac.digest(base64.b64decode(self.key), text.encode(), "sha256")
        headers["Authorization"] = f"SharedKey {self.account}:{base64.b64encode(mac).decode()}"
        answer = httpx.put(f"{self._endpoint(self.port)}/{path}", params=query, headers=headers, trust_env=False)
        answer.raise_for_status()


def _postgres_programs() -> Path:
    found = shutil.which("initdb")
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found is None and not versions:
        raise Missing("PostgreSQL is not installed: make services, or apt-get install postgresql")
    return (versions[-1] if versions else Path(str(found)).resolve()).parent


def _moved_clock(offset_s: float) -> list[str]:
    """Command before that of a process whose wall clock is to be ahead, and whose monotonic one is to stay."""
    library = next(LIBRARIES.glob("*/faketime/libfaketime.so.1"), None)
    if library is None:
        raise Missing("libfaketime is not installed: make services, or apt-get install libfaketime")
    return ["env", f"LD_PRELOAD={library}", f"FAKETIME={offset_s:+f}", "FAKETIME_DONT_FAKE_MONOTONIC=1"]
