"""`cnserve up`, up to where Ray would be imported, and what it says while it waits."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from serve.commands.up import waits

UP = """
import sys
from serve.cli import app
try:
    app(["up"])
except SystemExit as end:
    print(end.code, "ray" in sys.modules)
"""


def test_a_port_in_use_is_told_before_ray_is_imported(tmp_path: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = str(server.getsockname()[1])
        variables = {**os.environ, "CN_PORT": port, "CN_METRICS_PORT": "0", "CN_DATA_DIR": str(tmp_path / "data")}
        done = subprocess.run(
            [sys.executable, "-c", UP], env=variables, capture_output=True, text=True, check=True, cwd=Path.cwd()
        )
    told, ended = done.stdout.splitlines()
    assert (
        told
        == f"Port {port} of 127.0.0.1 is in use by another program: stop that program, or set CN_PORT to another port."
    )
    assert ended == "1 False"
    assert not (tmp_path / "data").exists()
    assert done.stderr == ""


def told(terminal: bool) -> tuple[list[str], list[str]]:
    """What is printed, and what the line that stays shows, over two waits of a few seconds each."""
    printed: list[str] = []
    shown: list[str] = []
    tell = waits(Console(file=io.StringIO(), force_terminal=terminal), printed.append, shown.append)
    for second in (1, 9, 10, 15, 21):
        tell("starting Ray", second)
    tell("loading the model", 3)
    tell("loading the model", 12)
    return printed, shown


def test_a_wait_is_the_line_that_stays_on_a_terminal() -> None:
    printed, shown = told(terminal=True)
    assert printed == []
    assert (shown[0], shown[-1]) == ("starting Ray: 1 s", "loading the model: 12 s")


def test_elsewhere_it_is_a_line_every_ten_seconds() -> None:
    printed, shown = told(terminal=False)
    assert printed == ["starting Ray: 10 s", "starting Ray: 21 s", "loading the model: 12 s"]
    assert shown == []
