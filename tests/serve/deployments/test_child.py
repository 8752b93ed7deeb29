"""A process that ends is started again, one that cannot start is the end."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from serve.deployments.child import FAILED_STARTS, SOON_S, Child, ChildFailed

SLEEPER = [sys.executable, "-c", "import signal; signal.pause()"]
ENDS = [sys.executable, "-c", "print('no port'); raise SystemExit(3)"]


def yes() -> bool:
    return True


def no() -> bool:
    return False


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def ended(child: Child) -> None:
    """Wait for the process itself, so that `look` finds it ended."""
    os.waitid(os.P_PID, child._process.pid, os.WEXITED | os.WNOWAIT)


def test_a_running_process_is_left_alone(tmp_path: Path) -> None:
    child = Child("api", SLEEPER, tmp_path / "log", yes)
    assert not child.look()
    child.stop()


def test_a_killed_process_is_started_again(tmp_path: Path) -> None:
    clock = Clock()
    child = Child("api", SLEEPER, tmp_path / "log", yes, clock)
    first = child._process.pid
    assert not child.look()  # and it answers
    clock.now = SOON_S
    os.kill(first, signal.SIGKILL)
    ended(child)
    assert child.look()
    assert child._process.pid != first
    assert not child.look()
    child.stop()


def test_a_process_that_ends_before_it_answers_has_failed_however_long_it_took(tmp_path: Path) -> None:
    clock = Clock()
    child = Child("api", ENDS, tmp_path / "log", no, clock)
    clock.now = 100 * SOON_S
    ended(child)
    with pytest.raises(ChildFailed) as caught:
        child.look()
    assert str(caught.value) == f"The api ended with code 3: {tmp_path / 'log'} has more.\nno port"


def test_a_process_that_is_killed_before_it_answers_is_started_again(tmp_path: Path) -> None:
    child = Child("api", SLEEPER, tmp_path / "log", no, Clock())
    for _ in range(FAILED_STARTS - 1):
        killed(child)
        assert child.look()
    killed(child)
    with pytest.raises(ChildFailed, match="api ended with code -9"):
        child.look()


def test_only_what_the_process_itself_said_is_told(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("of an earlier one\n")
    child = Child("api", ENDS, tmp_path / "log", no)
    ended(child)
    with pytest.raises(ChildFailed, match=r"has more\.\nno port$"):
        child.look()


def killed(child: Child) -> None:
    os.kill(child._process.pid, signal.SIGKILL)
    ended(child)


def test_a_process_that_ends_again_and_again_is_given_up(tmp_path: Path) -> None:
    child = Child("api", SLEEPER, tmp_path / "log", yes, Clock())
    for _ in range(FAILED_STARTS - 1):
        child.look()
        killed(child)
        assert child.look()
    child.look()
    killed(child)
    with pytest.raises(ChildFailed, match="api ended with code -9"):
        child.look()


def test_one_that_never_answers_again_is_given_up(tmp_path: Path) -> None:
    clock, answers = Clock(), [True]
    child = Child("api", SLEEPER, tmp_path / "log", lambda: answers[0], clock)
    child.look()
    answers[0] = False
    for _ in range(FAILED_STARTS):  # of which the first had answered once
        clock.now += 100 * SOON_S
        killed(child)
        assert child.look()
    killed(child)
    with pytest.raises(ChildFailed):
        child.look()


def test_failed_starts_count_only_in_a_row(tmp_path: Path) -> None:
    clock = Clock()
    child = Child("api", SLEEPER, tmp_path / "log", yes, clock)
    for turn in range(2 * FAILED_STARTS):
        child.look()
        clock.now += SOON_S if turn % 2 else 0.0
        killed(child)
        assert child.look()
    child.stop()


def test_last_words_in_json_and_tracebacks_are_told_as_sentences(tmp_path: Path) -> None:
    entry = {"level": "error", "message": "it can't go on", "exception": "Traceback\n  File\nOSError: no port"}
    said = f"import sys; sys.stderr.write({json.dumps(entry)!r} + chr(10)); raise RuntimeError('the end')"
    child = Child("api", [sys.executable, "-c", said], tmp_path / "log", no, Clock())
    ended(child)
    with pytest.raises(ChildFailed) as caught:
        child.look()
    assert str(caught.value).splitlines()[1:] == ["it can't go on: OSError: no port", "RuntimeError: the end"]


def test_a_stopped_process_is_gone(tmp_path: Path) -> None:
    child = Child("api", SLEEPER, tmp_path / "log", yes)
    child.stop()
    assert child._process.returncode == -signal.SIGTERM
