from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from ops.load.census import process, role


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("ray::ServeReplica:controlnet:sampler", "sampler"),
        ("ray::ServeController", "controller"),
        ("ray::DashboardAgent", "ray::DashboardAgent"),
        ("ray-dashboard-JobHead-0 (/venv/bin/python3 -B -c ...", "ray-dashboard-JobHead"),
        ("/venv/bin/python3 -m serve.api ", "api"),
        ("/venv/bin/python3 -u /venv/lib/ray/_private/log_monitor.py --session-dir=/tmp/ray", "log_monitor"),
        ("/venv/ray/core/src/ray/raylet/raylet --raylet_socket_name=/tmp/x", "raylet"),
        ("/venv/bin/python3 /venv/bin/cnserve up", "cnserve"),
        ("/venv/bin/python3 -B -c from multiprocessing.resource_tracker import main;main(25)", "resource_tracker"),
        ("/bin/sleep 3", "sleep"),
    ],
)
def test_processes_are_called_by_what_they_do(command: str, name: str) -> None:
    assert role(command) == name


def test_an_open_file_is_a_handle(tmp_path: Path) -> None:
    before = process(os.getpid())
    with (tmp_path / "file").open("w"):
        after = process(os.getpid())
    assert before is not None
    assert after is not None
    assert after.handles == before.handles + 1
    assert after.born == before.born
    assert 0 < after.pss <= after.rss


def test_what_has_ended_is_nothing() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert process(ended.pid) is None


def test_what_is_ending_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil.Process, "cmdline", lambda self: [])
    assert process(os.getpid()) is None
