"""The whole platform as `make run` starts it, on ports and a folder of its own; one for the session."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from ops.faults.rig import Rig


@dataclass(frozen=True)
class Running:
    """A platform that answers."""

    client: httpx.Client
    rig: Rig

    @property
    def metrics(self) -> str:
        return f"http://127.0.0.1:{self.rig.metrics_port}/metrics"

    @property
    def environment(self) -> dict[str, str]:
        return self.rig.environment

    def cnserve(self, *arguments: str) -> str:
        """Run the command line against this platform."""
        return self.rig.cnserve(*arguments)


def end(process: subprocess.Popen[str]) -> None:
    """A child ends with its input, or is killed."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    rig = Rig(tmp_path_factory.mktemp("platform"), os.environ.get("CN_DATABASE"), {"CN_PREVIEWS": "64"})
    began = time.monotonic()
    with rig, httpx.Client(base_url=rig.url, timeout=120) as client:
        client.headers["Authorization"] = f"Bearer {rig.key}"  # which was made when it started
        print(f"\nready after {time.monotonic() - began:.1f} s")  # reported, not asserted: the machine may be shared
        yield Running(client, rig)
