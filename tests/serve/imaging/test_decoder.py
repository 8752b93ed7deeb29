"""The child that decodes: its bounds and its protocol. What it makes of files is tested with `controlnet.pictures`."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from serve.imaging import decoder
from serve.imaging.decoder import BANNER, LENGTH, REQUEST
from tests.pictures import PNG_MAGIC, RAMP, saved

MAX_PIXELS = 1_000_000


def child(*, memory: int = 2 << 30, timeout: float = 60.0) -> subprocess.Popen[bytes]:
    options = ["--max-pixels", "1000000", "--memory", str(memory), "--timeout", str(timeout)]
    command = [sys.executable, "-m", decoder.__name__, *options]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_it_is_bounded_answers_and_leaves_when_its_input_ends() -> None:
    with child(memory=3 << 30) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.read(len(BANNER)) == BANNER
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        asked = saved(RAMP)
        requests = REQUEST.pack(len(asked), False) + asked + REQUEST.pack(3, False) + b"GIF"
        out, err = process.communicate(requests, timeout=60)
    assert process.returncode == 0
    assert err == b""
    length = LENGTH.unpack(out[:4])[0]
    assert out[4 : 4 + length] == b'{"width": 16, "height": 12, "channels": 3}'
    body = out[4 + length :]
    assert body[: RAMP.nbytes] == RAMP.tobytes()
    assert b'"refused": "unsupported"' in body[RAMP.nbytes :]
    rows = {line[:25].strip(): line[25:].split()[:2] for line in limits.splitlines()}
    assert rows["Max address space"] == [str(3 << 30)] * 2
    assert rows["Max core file size"] == ["0", "0"]


def test_it_dies_in_the_middle_of_a_request_that_outlives_its_caller() -> None:
    """Who was killed kills nobody: the child has an alarm of its own, which needs no code of it to run."""
    with child(timeout=0.05) as process:
        assert process.stdin is not None
        process.stdin.write(REQUEST.pack(100, False) + PNG_MAGIC)  # and nothing more
        process.stdin.flush()
        assert process.wait(60) == -signal.SIGALRM


def test_between_requests_the_alarm_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    alarms: list[float] = []
    monkeypatch.setattr(signal, "setitimer", lambda which, seconds: alarms.append(seconds))
    request = REQUEST.pack(3, False) + b"GIF"
    decoder.serve(io.BytesIO(request * 2), io.BytesIO(), MAX_PIXELS, timeout=9.0)
    assert alarms == [9.0, 0, 9.0, 0]
