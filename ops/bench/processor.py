"""Processor time by role, as the kernel counts it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping

import psutil


def seconds(roles: Mapping[int, str]) -> dict[str, float]:
    """User and system time of each role's processes so far, with all their threads; none of those that are gone."""
    found = dict.fromkeys(roles.values(), 0.0)
    for pid, role in roles.items():
        with contextlib.suppress(psutil.NoSuchProcess):
            found[role] += of(pid)
    return found


def spent(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Seconds by role between two looks at the same processes."""
    return {role: after[role] - before[role] for role in before}


def roles(pids: Iterable[int], names: Mapping[str, str], other: str) -> dict[int, str]:
    """The role of each process: the first of `names` whose text its command line holds."""
    return {pid: next((name for name, text in names.items() if text in _command(pid)), other) for pid in pids}


def of(pid: int) -> float:
    """User and system time of one process so far, in seconds.

    Raises:
        NoSuchProcess: It is gone.
    """
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _command(pid: int) -> str:
    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.NoSuchProcess:
        return ""
