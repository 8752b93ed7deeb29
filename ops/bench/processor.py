"""Processor time by role, as the kernel counts it."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def seconds(roles: Mapping[int, str]) -> dict[str, float]:
    """User and system time of each role's processes so far, with all their threads; none of those that are gone."""
    found: dict[str, float] = defaultdict(float)
    for pid, role in roles.items():
        found[role] += _seconds(pid)
    return dict(found)


def spent(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Seconds by role between two looks at the same processes."""
    return {role: after[role] - before[role] for role in before}


def roles(pids: Iterable[int], names: Mapping[str, str], other: str) -> dict[int, str]:
    """The role of each process: the first of `names` whose text its command line holds."""
    return {pid: next((name for name, text in names.items() if text in _command(pid)), other) for pid in pids}


def _seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
