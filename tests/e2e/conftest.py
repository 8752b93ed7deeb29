"""The whole platform as `make run` starts it, on ports and a folder of its own; one for the session."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

READY_WITHIN = 240.0  # seconds; the machine may be shared, and the time itself is reported, not asserted


@dataclass(frozen=True)
class Running:
    """A platform that answers."""

    client: httpx.Client
    metrics: str
    environment: dict[str, str]
    process: subprocess.Popen[bytes]
    seconds_to_ready: float

    def cnserve(self, *arguments: str) -> str:
        """Run the command line against this platform."""
        command = [str(Path(sys.executable).with_name("cnserve")), *arguments]
        return subprocess.run(command, env=self.environment, check=True, capture_output=True, text=True).stdout


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("platform")
    port, metrics_port = free_port(), free_port()
    environment = os.environ | {
        "CN_DATA_DIR": str(folder / "data"),
        "CN_PORT": str(port),
        "CN_METRICS_PORT": str(metrics_port),
        "CN_RECONCILE_EVERY": "0.5",
        "CN_PREVIEWS": "64",
    }
    log = (folder / "up.log").open("wb")
    began = time.monotonic()
    command = [str(Path(sys.executable).with_name("cnserve")), "up"]
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120)
    try:
        while not is_ready(client):
            if process.poll() is not None or time.monotonic() - began > READY_WITHIN:
                pytest.fail(f"the platform did not get ready:\n{(folder / 'up.log').read_text()}")
            time.sleep(0.2)
        seconds = time.monotonic() - began
        print(f"\nready after {seconds:.1f} s")
        yield Running(client, f"http://127.0.0.1:{metrics_port}/metrics", environment, process, seconds)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            client.close()
            log.close()


def is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False
