"""A Python process with a wall clock that is set while it runs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ops.faults.wall import MODULES, WallClock, before_midnight_s

ASKS = """
import sys, time
for line in sys.stdin:
    print(time.time(), time.time_ns(), time.monotonic(), flush=True)
"""


def test_a_clock_is_set_and_set_right_while_a_process_runs(tmp_path: Path) -> None:
    clock = WallClock(tmp_path / "clock", 60.0)
    variables = {**os.environ, **clock.variables, "PYTHONPATH": str(MODULES)}
    with subprocess.Popen(
        [sys.executable, "-c", ASKS], env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def is_ahead(by_s: float) -> bool:
            """Of both wall clocks, and the monotonic one not at all: each lies between two looks of this process."""
            before = time.time(), time.time(), time.monotonic()
            process.stdin.write("\n")
            process.stdin.flush()
            wall, wall_ns, ticks = process.stdout.readline().split()
            there = float(wall) - by_s, int(wall_ns) / 1e9 - by_s, float(ticks)
            after = time.time(), time.time(), time.monotonic()
            return all(a - 1e-3 <= b <= c + 1e-3 for a, b, c in zip(before, there, after, strict=True))  # of rounding

        assert is_ahead(60.0)
        clock.set(-3600.0)
        assert is_ahead(-3540.0)
        clock.set(0.0)
        assert is_ahead(60.0)
        process.stdin.close()


def test_the_day_ends_soon() -> None:
    ahead = timedelta(seconds=before_midnight_s(30.0))
    now = datetime.now(UTC) + ahead
    assert (now + timedelta(seconds=25)).date() == now.date()
    assert (now + timedelta(seconds=31)).date() == now.date() + timedelta(days=1)
