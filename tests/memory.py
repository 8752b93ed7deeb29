"""What a call takes, measured from outside the process it runs in."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures import wait as finish
from dataclasses import dataclass
from multiprocessing import get_context
from os import getpid
from pathlib import Path
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


def anonymous(pid: int | None = None) -> int:
    """Bytes of a process's memory that no file backs: mapped weights don't count until they are written to."""
    status = Path(f"/proc/{pid or 'self'}/status").read_text()
    return 1024 * int(status.partition("RssAnon:")[2].split()[0])


@dataclass(frozen=True)
class Measured(Generic[Answer]):
    """What a call answered, how long it took in seconds, and the most anonymous memory its process had, in bytes."""

    answer: Answer
    seconds: float
    peak: int


def measured(function: Callable[..., Answer], *arguments: object) -> Measured[Answer]:
    """Call a function of a module in a fresh process. Looking from outside needs nobody to release the GIL."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:
        pid = apart.submit(getpid).result()
        begin = time.perf_counter()
        call: Future[Answer] = apart.submit(function, *arguments)
        peak = 0
        while finish([call], timeout=0.01).not_done:
            peak = max(peak, anonymous(pid))
        return Measured(call.result(), time.perf_counter() - begin, peak)
