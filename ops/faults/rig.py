"""The platform under test: `cnserve up` in a folder of its own, and ways to end its processes."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self

import sqlalchemy as sa

from serve.config import MLFLOW
from serve.deployments.ground import free_ports
from serve.tenancy.demo import kept_key

ROOT = Path(__file__).parents[2]
READY_WITHIN_S = 240.0
STOPPED_WITHIN_S = 60.0
ROLES: Mapping[str, str] = {
    "sampler": "ray::ServeReplica:controlnet:sampler",
    "imaging": "ray::ServeReplica:controlnet:imaging",
    "dispatcher": "ray::ServeReplica:controlnet:dispatcher",
    "controller": "ray::ServeController",
    "api": "serve.api",
}
"""What the command line of each kind of process holds."""

AGAIN = ('while :; do "$@"; sleep 0.5; done', "again")
"""A shell's program, and its name: it runs a command again whenever that ends, as a cluster does."""


class Rig:
    """A platform that is started, killed and started again on the same folder and database.

    Args:
        folder: For everything it stores.
        database: SQLAlchemy URL; SQLite in the folder when absent.
        settings: More `CN_*` variables.
        reads: URL by which the campaign itself looks at the database; the platform's when absent.
        modules: Folders whose Python modules go before all others: of the code that runs.
    """

    def __init__(
        self,
        folder: Path,
        database: str | None = None,
        settings: Mapping[str, str] | None = None,
        reads: str | None = None,
        modules: Sequence[Path] = (ROOT,),
    ) -> None:
        self.folder = folder
        self.database_url = database or f"sqlite:///{folder / 'data' / 'jobs.db'}"
        self._reads_url = reads or self.database_url
        self.port, self.metrics_port = free_ports(2)
        # Neither `CN_*` of the one who calls nor a `.env` where that is are meant for this platform, so it runs in its
        # own folder; its code is this checkout's all the same, unless another is given.
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("CN_")} | {
            "PYTHONPATH": os.pathsep.join(filter(None, (*map(str, modules), os.environ.get("PYTHONPATH")))),
            "CN_DATA_DIR": str(folder / "data"),
            "CN_DATABASE": self.database_url,
            "CN_PORT": str(self.port),
            "CN_METRICS_PORT": str(self.metrics_port),
            **(settings or {}),
        }
        self._further: list[Mapping[str, str]] = []  # variables of further apis
        self._up: subprocess.Popen[bytes] | None = None
        self._apis: list[subprocess.Popen[bytes]] = []
        self._commands: set[int] = set()  # sessions of an operator's commands, which a power cut ends, too
        self._reads: sa.Engine | None = None

    @property
    def url(self) -> str:
        """Of the API."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def urls(self) -> Sequence[str]:
        """Of all apis."""
        return [self.url, *(f"http://127.0.0.1:{variables['CN_PORT']}" for variables in self._further)]

    @property
    def key(self) -> str:
        """Of an admin of the team `demo`, as `cnserve up` made it."""
        key = kept_key(self.folder / "data")
        assert key is not None
        return key

    @property
    def log(self) -> Path:
        """What `cnserve up` said."""
        return self.folder / "up.log"

    @property
    def reads(self) -> sa.Engine:
        """The platform's database, for looking at it; a file that is put aside is not held on to."""
        if self._reads is None:
            self._reads = sa.create_engine(self._reads_url, poolclass=sa.NullPool)
        return self._reads

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop_all(signal.SIGINT)
        if self._reads is not None:
            self._reads.dispose()

    def start(self) -> None:
        """Start everything, and wait until it is ready.

        Raises:
            RuntimeError: It did not become ready; with what it said.
        """
        self._up = self._start(self.log, [_cnserve(), "up"])
        for variables in self._further:
            self._start_api(variables)
        self.wait_until_ready()

    def second_api(self, variables: Mapping[str, str] | None = None) -> str:
        """Start one more api on ports of its own, as a second replica in a cluster, and wait until it is ready.

        It is the platform's from then on: what ends is started again, and `start` starts it, too.

        Args:
            variables: Of its environment alone.

        Returns:
            Its URL.

        Raises:
            RuntimeError: It did not become ready.
        """
        port, metrics_port = free_ports(2)
        self._further.append({"CN_PORT": str(port), "CN_METRICS_PORT": str(metrics_port), **(variables or {})})
        self._start_api(self._further[-1])
        self.wait_until_ready()
        return self.urls[-1]

    def _start_api(self, variables: Mapping[str, str]) -> None:
        command = ["sh", "-c", *AGAIN, sys.executable, "-m", "serve.api"]
        self._apis.append(self._start(self.folder / f"api-{variables['CN_PORT']}.log", command, variables))

    def _start(
        self, log: Path, command: Sequence[str], variables: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """A session of its own, whose first process runs a command."""
        with log.open("ab") as file:
            return subprocess.Popen(
                command,
                env={**self.environment, **(variables or {})},
                cwd=self.folder,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )

    def cnserve(self, *arguments: str) -> str:
        """What a command of `cnserve` says about this platform, as `run` does."""
        return self.run(_cnserve(), *arguments)

    def run(self, *command: str, timeout_s: float | None = None) -> str:
        """What a command says in the platform's folder and environment, on standard output.

        Raises:
            RuntimeError: It failed; with all that it said.
        """
        with subprocess.Popen(
            command,
            env=self.environment | {"COLUMNS": "200"},  # tables of one line a row
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            self._commands.add(process.pid)
            try:
                said, problem = process.communicate(timeout=timeout_s)
            finally:
                self._commands.discard(process.pid)
                process.kill()
        if process.returncode != 0:
            name = shlex.join([Path(command[0]).name, *command[1:]])
            raise RuntimeError(f"{name} failed ({process.returncode}):\n{said}{problem}")
        return said

    @property
    def artifacts(self) -> Path:
        """Where pictures are stored."""
        return self.folder / "data" / "artifacts"

    @property
    def registry_url(self) -> str:
        """Where MLflow keeps its models."""
        return f"sqlite:///{self.folder / 'data' / MLFLOW}"

    @property
    def gcs_address(self) -> str:
        """Where the platform's own Ray is, whichever others run on this machine."""
        return self._said(r"--gcs-address=([\w.:]+)")

    @property
    def ray_session(self) -> Path:
        """The folder of its Ray, whichever others run on this machine."""
        return Path(self._said(r"(/tmp/ray/session_[\w-]+)"))

    def _said(self, pattern: str) -> str:
        """What the group of a pattern is in the command line of one of its processes."""
        commands = map(_command, self.processes())
        return next(found[1] for command in commands if (found := re.search(pattern, command)))

    def troubles(self) -> str:
        """What replicas and Serve's controller logged as warnings and errors since it was started."""
        logs = [
            path for pattern in ("worker-*.err", "serve/*.log") for path in (self.ray_session / "logs").glob(pattern)
        ]
        lines = [line for path in sorted(logs) for line in path.read_text(errors="replace").splitlines()]
        return "\n".join(line for line in lines if re.search(r'"level(name)?": "(warning|error)"', line, re.IGNORECASE))

    def wait_until_ready(self) -> None:
        """Wait for `/readyz` of all apis."""
        assert self._up is not None
        deadline = time.monotonic() + READY_WITHIN_S
        while not all(answers(f"{url}/readyz") for url in self.urls):
            if self._up.poll() is not None or time.monotonic() > deadline:
                said = self.log.read_text(errors="replace").replace("\0", "")  # which a power cut leaves
                raise RuntimeError(f"the platform is not ready:\n{said[-4000:]}")
            time.sleep(0.5)  # each question is one to the database, and the cores are those that start it

    def processes(self, role: str | None = None) -> list[int]:
        """The processes of a role, or all of them. They are sessions of their own, so nothing else is in them."""
        assert self._up is not None
        firsts = {process.pid for process in (self._up, *self._apis)}
        commands = set() if role else set(self._commands)
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            pid = int(entry.name)
            with contextlib.suppress(ProcessLookupError):
                if os.getsid(pid) not in firsts | commands:
                    continue
                # The first of a session plays no role: it starts the others.
                if role is None or (pid not in firsts and ROLES[role] in _command(pid)):
                    found.append(pid)
        return found

    def kill(self, role: str) -> list[int]:
        """`kill -9` every process of a role.

        Raises:
            RuntimeError: There is none, so nothing would be tested.
        """
        return self._signal(self._victims(role), signal.SIGKILL)

    def stop(self, role: str) -> list[int]:
        """SIGTERM to every process of a role, which may end in order.

        Raises:
            RuntimeError: There is none, so nothing would be tested.
        """
        return self._signal(self._victims(role), signal.SIGTERM)

    def pause(self, role: str, seconds: float, wait: Callable[[float], object] = time.sleep) -> list[int]:
        """SIGSTOP every process of a role, and SIGCONT after a while, also where the wait is interrupted.

        Args:
            role: Whose processes stand still.
            seconds: For so long.
            wait: Called with them.

        Raises:
            RuntimeError: There is none, so nothing would be tested.
        """
        victims = self._victims(role)
        try:
            self._signal(victims, signal.SIGSTOP)
            wait(seconds)
        finally:
            self._signal(victims, signal.SIGCONT)
        return victims

    def _victims(self, role: str) -> list[int]:
        victims = self.processes(role)
        if not victims:
            raise RuntimeError(f"there is no {role} process")
        return victims

    def _signal(self, pids: list[int], number: int) -> list[int]:
        """Those that have ended meanwhile are no error."""
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return pids

    def stop_all(self, number: int = signal.SIGTERM, within_s: float = STOPPED_WITHIN_S) -> bool:
        """End everything in order, as an operator or a drained node does, and wait for it.

        Args:
            number: Signal to `cnserve up`: SIGTERM, or SIGINT for Ctrl-C.
            within_s: After which `kill -9` ends what is left.

        Returns:
            Whether it ended by itself.
        """
        if self._up is None:
            return True
        self._up.send_signal(number)
        for api in self._apis:
            os.killpg(api.pid, signal.SIGTERM)  # the shell, too, so that it starts no other
        deadline = time.monotonic() + within_s
        while not (ended := self._up.poll() is not None and not self.processes("api")) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.kill_all()
        return ended

    def kill_all(self) -> None:
        """`kill -9` the whole tree, as a power cut would."""
        if self._up is None:
            return
        while victims := [pid for pid in self.processes() if not _is_zombie(pid)]:
            self._signal(victims, signal.SIGKILL)
            self._up.poll()
            time.sleep(0.02)
        for first in (self._up, *self._apis):
            first.wait()
        self._apis.clear()
        if self._reads is not None:
            self._reads.dispose()  # its files may be those of a disk whose power was cut


def _cnserve() -> str:
    return str(Path(sys.executable).with_name("cnserve"))


def answers(url: str) -> bool:
    """Whether a GET on loopback is answered with 200.

    Asked often while a server starts: `httpx.get` would make a TLS context each time, which at ten times a second is a
    quarter of a core.
    """
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == HTTPStatus.OK)
    except (OSError, http.client.HTTPException):  # nobody listens, it broke off, or another status
        return False


def _command(pid: int) -> str:
    """The arguments of a process with blanks between; none where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
