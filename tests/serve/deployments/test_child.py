"""A process that ends is started again, one that cannot start is the end."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from serve.deployments.child import FAILED_STARTS, SOON_S, Child, ChildFailed

SLEEPER = [sys.executable, "-c", "import signal; signal.pause()"]
ENDS = [sys.executable, "-c", "print('no port'); raise SystemExit(3)"]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def ended(child: Child) -> None:
    """Wait for the process itself, so that `look` finds it ended."""
    os.waitid(os.P_PID, child._process.pid, os.WEXITED | os.WNOWAIT)


def test_a_running_process_is_left_alone(tmp_path: Path) -> None:
    child = Child("api", SLEEPER, tmp_path / "log")
    assert not child.look()
    child.stop()


def test_a_killed_process_is_started_again(tmp_path: Path) -> None:
    clock = Clock()
    child = Child("api", SLEEPER, tmp_path / "log", clock)
    first = child._process.pid
    clock.now = SOON_S
    os.kill(first, signal.SIGKILL)
    ended(child)
    assert child.look()
    assert child._process.pid != first
    assert not child.look()
    child.stop()


def test_a_process_that_cannot_start_is_given_up_with_its_last_words(tmp_path: Path) -> None:
    child = Child("api", ENDS, tmp_path / "log", Clock())
    for _ in range(FAILED_STARTS - 1):
        ended(child)
        child.look()
    ended(child)
    with pytest.raises(ChildFailed, match=r"(?s)api ended with code 3.*no port"):
        child.look()


def test_failed_starts_count_only_in_a_row(tmp_path: Path) -> None:
    clock = Clock()
    child = Child("api", ENDS, tmp_path / "log", clock)
    for turn in range(2 * FAILED_STARTS):
        clock.now += SOON_S if turn % 2 else 0.0
        ended(child)
        assert child.look()
    child.stop()


def test_a_stopped_process_is_gone(tmp_path: Path) -> None:
    child = Child("api", SLEEPER, tmp_path / "log")
    child.stop()
    assert child._process.returncode == -signal.SIGTERM
