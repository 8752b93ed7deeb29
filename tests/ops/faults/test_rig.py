"""The rig around a `cnserve` that is a line of shell, and around processes of the test's own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa

from ops.faults.rig import Rig, answers
from serve.deployments.ground import free_ports

SERVER = """
import http.server, os, signal, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
def end(number, frame):
    if sys.argv[1] != "up":
        time.sleep(0.3)  # a request that is under way is answered first
    print(signal.Signals(number).name, flush=True)
    sys.exit()
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, end)
http.server.HTTPServer(("127.0.0.1", int(os.environ["CN_PORT"])), Handler).serve_forever()
"""
"""Both `cnserve up` and `python -m serve.api`: they answer, and say which signal ended them, the api as the last."""


@pytest.fixture
def cnserve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def make(script: str) -> None:
        file = tmp_path / "bin" / "cnserve"
        file.parent.mkdir()
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(file.with_name("python")))

    return make


def test_the_callers_settings_are_not_the_platforms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CN_MLFLOW_TRACKING_URI", "https://models.example.com")
    monkeypatch.setenv("CN_PORT", "1")
    environment = Rig(tmp_path, settings={"CN_LEASE": "6"}).environment
    assert "CN_MLFLOW_TRACKING_URI" not in environment
    assert (environment["CN_LEASE"], environment["CN_PORT"] == "1") == ("6", False)


def test_what_does_not_start_leaves_nothing_behind(
    cnserve: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(rig: Rig) -> None:
        raise KeyboardInterrupt

    # It listens to SIGINT as the platform does, also in a background job, which is started with that signal ignored.
    program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); signal.pause()"
    cnserve(f"exec {sys.executable} -c '{program}'")
    monkeypatch.setattr(Rig, "wait_until_ready", interrupted)
    rig = Rig(tmp_path)
    with pytest.raises(KeyboardInterrupt), rig:
        pass
    assert rig.processes() == []


def test_a_command_that_fails_says_why(cnserve: Callable[[str], None], tmp_path: Path) -> None:
    cnserve('[ "$1" = good ] && echo "$CN_DATA_DIR" && exit; echo "no such model" >&2; exit 3')
    rig = Rig(tmp_path)
    assert rig.cnserve("good") == f"{tmp_path / 'data'}\n"
    with pytest.raises(RuntimeError, match=r"cnserve models 'a b' failed \(3\):\nno such model"):
        rig.cnserve("models", "a b")


def test_a_server_that_is_up_answers_and_one_that_is_not_ready_or_not_there_does_not() -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/readyz" else 503)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        assert answers(f"{url}/readyz")
        assert not answers(f"{url}/starting")
        server.shutdown()
        thread.join()
    assert not answers(f"http://127.0.0.1:{free_ports(1)[0]}/readyz")


# Processes that stand still, and ends in order


@pytest.fixture
def imaging(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Two processes which each rig takes for the platform's imaging."""
    processes = [subprocess.Popen(["sleep", "infinity"]) for _ in range(2)]

    def listed(rig: Rig, role: str | None = None) -> list[int]:
        return [process.pid for process in processes] if role in (None, "imaging") else []

    monkeypatch.setattr(Rig, "processes", listed)
    yield processes
    for process in processes:
        process.kill()
        process.wait()


def stopped(process: subprocess.Popen[bytes]) -> bool:
    """Whether a child of this process has stopped, which it is waited for."""
    return os.waitid(os.P_PID, process.pid, os.WSTOPPED) is not None


def went_on(process: subprocess.Popen[bytes]) -> bool:
    return os.waitid(os.P_PID, process.pid, os.WCONTINUED | os.WNOHANG) is not None


def test_a_paused_role_stands_still_and_goes_on(tmp_path: Path, imaging: list[subprocess.Popen[bytes]]) -> None:
    waits = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        assert all(map(stopped, imaging))

    assert Rig(tmp_path).pause("imaging", 36.0, wait) == [process.pid for process in imaging]
    assert all(map(went_on, imaging))
    assert waits == [36.0]


def test_a_pause_that_is_interrupted_is_over(tmp_path: Path, imaging: list[subprocess.Popen[bytes]]) -> None:
    def wait(seconds: float) -> None:
        assert all(map(stopped, imaging))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Rig(tmp_path).pause("imaging", 36.0, wait)
    assert all(map(went_on, imaging))


def test_a_process_that_ends_during_a_pause_is_no_error(tmp_path: Path, imaging: list[subprocess.Popen[bytes]]) -> None:
    def wait(seconds: float) -> None:
        assert all(map(stopped, imaging))
        imaging[0].kill()
        imaging[0].wait()

    Rig(tmp_path).pause("imaging", 36.0, wait)
    assert went_on(imaging[1])


def test_a_role_that_is_stopped_may_end_in_order(tmp_path: Path, imaging: list[subprocess.Popen[bytes]]) -> None:
    Rig(tmp_path).stop("imaging")
    assert [process.wait() for process in imaging] == [-signal.SIGTERM] * 2


def test_a_role_that_is_killed_may_not(tmp_path: Path, imaging: list[subprocess.Popen[bytes]]) -> None:
    Rig(tmp_path).kill("imaging")
    assert [process.wait() for process in imaging] == [-signal.SIGKILL] * 2


@pytest.mark.parametrize("blow", [Rig.kill, Rig.stop, lambda rig, role: rig.pause(role, 36.0)])
@pytest.mark.usefixtures("imaging")
def test_a_role_without_a_process_is_an_error(tmp_path: Path, blow: Callable[[Rig, str], object]) -> None:
    with pytest.raises(RuntimeError, match="there is no sampler process"):
        blow(Rig(tmp_path), "sampler")


# A platform of two apis


@pytest.fixture
def servers(cnserve: Callable[[str], None], tmp_path: Path) -> None:
    """Both programs of the platform are a small server."""
    (tmp_path / "server.py").write_text(SERVER)
    python = sys.executable
    cnserve(f'exec {python} {tmp_path}/server.py "$@"')
    (tmp_path / "bin" / "python").symlink_to(tmp_path / "bin" / "cnserve")


@pytest.mark.usefixtures("servers")
def test_it_is_stopped_in_order(tmp_path: Path) -> None:
    with Rig(tmp_path) as rig:
        rig.second_api()
        assert rig.stop_all()
        assert rig.processes() == []
        logs = {path.name.partition("-")[0]: path.read_text().splitlines()[-1] for path in tmp_path.glob("*.log")}
        assert logs == {"up.log": "SIGTERM", "api": "SIGTERM"}


@pytest.mark.usefixtures("servers")
def test_what_does_not_stop_in_time_is_killed(tmp_path: Path) -> None:
    with Rig(tmp_path) as rig:
        for pid in rig.processes():
            os.kill(pid, signal.SIGSTOP)
        assert not rig.stop_all(within_s=0.0)
        assert rig.processes() == []
        assert "SIGTERM" not in rig.log.read_text()


@pytest.mark.usefixtures("servers")
def test_a_second_api_answers_on_a_port_of_its_own(tmp_path: Path) -> None:
    with Rig(tmp_path) as rig:
        url = rig.second_api()
        assert rig.urls == [rig.url, url]
        assert url != rig.url
        assert answers(f"{url}/readyz")
        assert len(rig.processes("api")) == 1


@pytest.mark.usefixtures("servers")
def test_a_second_api_that_is_killed_is_started_again(tmp_path: Path) -> None:
    with Rig(tmp_path) as rig:
        rig.second_api()
        killed = rig.kill("api")
        rig.wait_until_ready()
        assert rig.processes("api")
        assert not set(rig.processes("api")) & set(killed)


@pytest.mark.usefixtures("servers")
def test_a_second_api_is_started_with_all_else(tmp_path: Path) -> None:
    with Rig(tmp_path) as rig:
        url = rig.second_api()
        rig.kill_all()
        assert rig.processes() == []
        assert not answers(f"{url}/readyz")
        rig.start()
        assert answers(f"{url}/readyz")
        assert len(rig.processes("api")) == 1


@pytest.mark.usefixtures("servers")
def test_a_look_at_the_database_holds_no_file_of_it(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with Rig(tmp_path) as rig:
        with rig.reads.connect() as connection:
            connection.execute(sa.text("CREATE TABLE jobs (id TEXT)"))
        assert not [file for file in psutil.Process().open_files() if Path(file.path).is_relative_to(tmp_path / "data")]


@pytest.mark.usefixtures("servers")
def test_a_command_of_an_operator_ends_with_the_power(tmp_path: Path) -> None:
    with Rig(tmp_path) as rig, ThreadPoolExecutor(1) as thread:
        before = set(rig.processes())
        run = thread.submit(rig.run, "sleep", "60")
        while not set(rig.processes()) - before:
            assert not run.done()
        rig.kill_all()
        with pytest.raises(RuntimeError, match=r"^sleep 60 failed \(-9\)"):
            run.result(timeout=30)
