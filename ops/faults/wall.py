"""The wall clock of the platform's Python processes, as a person or a time server sets it; the monotonic one stays."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

MODULES = Path(__file__).with_name("injected")
"""For the PYTHONPATH of processes whose clock is to be moved."""


class WallClock:
    """Moves the clock of all processes that run with its `variables` and `MODULES`, also while they run.

    Args:
        file: Where processes read it; it is made.
        ahead_s: By how much it is ahead of the machine's when nobody has set it.
    """

    def __init__(self, file: Path, ahead_s: float = 0.0) -> None:
        file.write_bytes(struct.pack("d", ahead_s))
        self.variables: Mapping[str, str] = {"FAULTS_CLOCK": str(file)}
        self._ahead_s = ahead_s
        with file.open("r+b") as opened:
            self._offset = memoryview(mmap.mmap(opened.fileno(), 8)).cast("d")

    def set(self, by_s: float) -> None:
        """Move it, away from where it was at first."""
        self._offset[0] = self._ahead_s + by_s


def before_midnight_s(seconds: float) -> float:
    """By how much a clock must be ahead for the day to end, in UTC, in so many seconds."""
    now = datetime.now(UTC)
    midnight = datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), UTC)
    return (midnight - now).total_seconds() - seconds
