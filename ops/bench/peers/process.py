"""A peer from outside. One that listens is started, waited for, and ended with all that it started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ops.faults.rig import answers
from serve.deployments.ground import free_ports

READY_WITHIN_S = 120.0
ENDED_WITHIN_S = 5.0  # a peer keeps nothing: it need not wait until Ray has drained


@contextmanager
def locked(threads: int) -> Iterator[str]:
    """`peers.locked`; yields its URL."""
    (port,) = free_ports(1)
    with _running("locked", [str(port), str(threads)], port) as url:
        yield url


@contextmanager
def batched(threads: int) -> Iterator[str]:
    """`peers.batched`; yields its URL."""
    (port,) = free_ports(1)
    with (
        tempfile.TemporaryDirectory(prefix="cn-batched-") as folder,
        _running("batched", [str(port), folder, str(threads)], port) as url,
    ):
        yield url


def answer(peer: subprocess.Popen[str], line: str) -> str:
    """The line that a peer answers a line of its input with.

    Raises:
        RuntimeError: It has ended; standard error says why.
    """
    assert peer.stdin is not None
    assert peer.stdout is not None
    try:
        print(line, file=peer.stdin, flush=True)
    except BrokenPipeError:
        with contextlib.suppress(BrokenPipeError):
            peer.stdin.close()  # with what is in its buffer, which would raise again later
    if not (said := peer.stdout.readline()):
        raise RuntimeError(f"the peer ended with {peer.wait()}")
    return said


@contextmanager
def _running(name: str, arguments: list[str], port: int) -> Iterator[str]:
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix=f"cn-{name}-") as folder:
        log = Path(folder) / "log"
        with log.open("wb") as file:
            command = [sys.executable, "-m", f"ops.bench.peers.{name}", *arguments]
            process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)
        try:
            _wait_until_ready(url, process, log)
            yield url
        finally:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(ENDED_WITHIN_S)
            for pid in session(process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while not answers(f"{url}/healthz"):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the peer is not ready:\n{log.read_text(errors='replace')[-4000:]}")
        time.sleep(0.1)


def session(leader: int) -> list[int]:
    """The processes of a session, which is all that its leader started."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(ProcessLookupError):
            if entry.name.isdigit() and os.getsid(int(entry.name)) == leader:
                found.append(int(entry.name))
    return found
