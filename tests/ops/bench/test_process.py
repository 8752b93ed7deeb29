"""Peers that are lines of shell."""

from __future__ import annotations

import subprocess

import pytest

from ops.bench.peers.process import answer


def peer(script: str) -> subprocess.Popen[str]:
    return subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_a_line_is_answered_with_a_line() -> None:
    with peer("cat") as echo:
        assert answer(echo, "one") == "one\n"
        assert answer(echo, "two") == "two\n"


@pytest.mark.parametrize("script", ["exit 3", "read line; exit 3"])
def test_a_peer_that_has_ended_is_told_with_its_status(script: str) -> None:
    """Whether it ended before it was asked or at the question."""
    with peer(script) as dead:
        if script == "exit 3":
            dead.wait()
        with pytest.raises(RuntimeError, match="ended with 3"):
            answer(dead, "one")
