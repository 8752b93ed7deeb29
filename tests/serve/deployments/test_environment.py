"""What is read of the machine before anything starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from serve.deployments.environment import usable_cores


def test_cores_that_the_process_may_not_use_are_not_counted() -> None:
    """A sampler with a thread too many on one core waits for its own threads at each step."""
    one = min(os.sched_getaffinity(0))
    question = "from serve.deployments.environment import usable_cores; print(usable_cores())"
    command = [sys.executable, "-c", question]
    alone = subprocess.run(
        command, preexec_fn=lambda: os.sched_setaffinity(0, {one}), capture_output=True, text=True, check=True
    )
    assert alone.stdout == "1\n"
    assert usable_cores(Path(os.devnull)) == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("200000 100000", 2), ("250000 100000", 2), ("50000 100000", 1), ("6400000 100000", 8), ("max 100000", 8)],
)
def test_a_containers_quota_bounds_the_cores(
    quota: str, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    assert usable_cores(tmp_path / "cpu.max") == cores
