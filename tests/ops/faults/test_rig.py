"""The rig around a `cnserve` that is a line of shell."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from ops.faults.rig import Rig, answers
from serve.deployments.ground import free_ports


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
