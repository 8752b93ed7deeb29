"""What a platform on this machine holds: its processes' memory, handles and threads, its rows, its files."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psutil
import sqlalchemy as sa

from ops.faults.rig import ROLES, Rig
from serve.jobs.schema import metadata

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Process:
    """One process at one moment.

    Attributes:
        born: Epoch seconds; with `pid` it is one generation.
        role: What it is for.
        rss: MiB that are mapped in.
        pss: MiB, with what several processes share divided among them.
        handles: Open files, sockets and pipes.
    """

    pid: int
    born: float
    role: str
    rss: float
    pss: float
    handles: int
    threads: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One look.

    Attributes:
        at: Seconds from the start.
        rows: By table.
        files: In the data folder.
    """

    at: float
    processes: Sequence[Process]
    rows: Mapping[str, int]
    files: int


def take(rig: Rig, at: float) -> Sample:
    """Look at everything."""
    found = (process(pid) for pid in rig.processes())
    return Sample(at, [one for one in found if one is not None], rows(rig.reads), files(rig))


def process(pid: int) -> Process | None:
    """One process; none where it has just ended."""
    try:
        looked = psutil.Process(pid)
        with looked.oneshot():
            command = " ".join(looked.cmdline())
            if not command:
                return None  # it is ending: its memory, and with it the command line, is gone already
            memory = looked.memory_full_info()
            return Process(
                pid,
                looked.create_time(),
                role(command),
                memory.rss / MIB,
                memory.pss / MIB,
                looked.num_fds(),
                looked.num_threads(),
            )
    except (psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied, FileNotFoundError):
        return None


def role(command: str) -> str:
    """A name for what a command line does.

    Ray's own processes are called as they call themselves, the platform's by their deployment.
    """
    for name, mark in ROLES.items():
        if mark in command:
            return name
    titled = re.match(r"(ray::[\w:]+|ray-dashboard-\w+)", command)
    if titled:
        return titled[1]
    script = re.search(r"multiprocessing\.(\w+)|([\w-]+)\.py\b|/(gcs_server|raylet|cnserve)\b", command)
    if script:
        return next(part for part in script.groups() if part)
    return os.path.basename(command.split(" ")[0])


def rows(engine: sa.Engine) -> Mapping[str, int]:
    """Of each table."""
    count = sa.func.count()
    with engine.connect() as connection:
        return {
            table.name: connection.scalar(sa.select(count).select_from(table)) or 0 for table in metadata.sorted_tables
        }


def files(rig: Rig) -> int:
    """In the platform's data folder."""
    return sum(len(names) for _, _, names in os.walk(rig.folder / "data"))
