"""The whole platform as `make run` starts it, on ports and a folder of its own; one for all, one at a time."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

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


class Stage:
    """Where the session's platform stands, or nothing: two platforms on two cores would wait for each other."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open = ExitStack()
        self._running: Running | None = None

    def platform(self) -> Running:
        """The session's platform, started where it does not stand."""
        if self._running is None:
            rig = Rig(self._folder, os.environ.get("CN_DATABASE"), {"CN_PREVIEWS": "64"})
            self._open.enter_context(rig)
            client = self._open.enter_context(httpx.Client(base_url=rig.url, timeout=120))
            client.headers["Authorization"] = f"Bearer {rig.key}"  # which was made when it started
            self._running = Running(client, rig)
        return self._running

    def clear(self) -> None:
        """End it."""
        self._running = None
        self._open.close()


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("platform"))
    yield stage
    stage.clear()


@pytest.fixture
def platform(stage: Stage) -> Running:
    """The platform that tests share."""
    return stage.platform()


@pytest.fixture(scope="module")
def alone(stage: Stage) -> None:
    """No platform stands: for tests that start servers of their own."""
    stage.clear()
