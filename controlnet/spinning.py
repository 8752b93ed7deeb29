"""How long threads spin at OpenMP's barriers: as GNU's OpenMP does on a quiet machine, a moment beside other work.

A thread that reaches a barrier early spins there for milliseconds before it sleeps, because waking costs more. Beside
other work it spins on a core that the thread which it waits for could have had: on two cores a step beside one busy
process took ten times as long. How long is read from the environment once (`GOMP_SPINCOUNT`), and no one value is good
in both cases. But the library itself spins a thousandth of that while the threads of all pools in the process are more
than its cores, and every thread that calls torch has a pool. So one more pool is kept while the kernel often takes
cores away from this process, and given up when it does not.

Other OpenMP libraries do not spin so; there it changes nothing. Results are the same: as many threads compute.
"""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Callable

import torch

LOOK_EVERY_S = 0.05  # processor seconds between looks
OFTEN = 70.0
"""Times that a core is taken away in a processor second, from which on there is other work. On two cores it was 2 to 27
on a quiet machine, 147 to 256 beside one to four busy loops, and 400 to 6,000 there while threads spin briefly.
"""
CALM_S = 3.0  # seconds without other work, after which threads spin again


class Spinning:
    """Watches one process; call `look` from the thread that computes, after each step.

    Args:
        preempted: Processor seconds of this process, and how often the kernel took a core away from it.
        clock: Seconds that only grow.
        pool: Makes the further pool; `end` gives it up.
    """

    def __init__(
        self,
        preempted: Callable[[], tuple[float, int]] | None = None,
        clock: Callable[[], float] = time.monotonic,
        pool: Callable[[], Pool] | None = None,
    ) -> None:
        self._preempted = preempted or _preempted
        self._clock = clock
        self._make = pool or Pool
        self._pool: Pool | None = None
        self._seconds, self._count = self._preempted()
        self._busy_at = float("-inf")

    @property
    def brief(self) -> bool:
        """Whether threads spin for a moment only."""
        return self._pool is not None

    def look(self) -> None:
        """Look whether there is other work, and have threads spin accordingly."""
        seconds, count = self._preempted()
        if seconds - self._seconds < LOOK_EVERY_S:
            return
        rate = (count - self._count) / (seconds - self._seconds)
        self._seconds, self._count = seconds, count
        if rate > OFTEN:
            self._busy_at = self._clock()
            if self._pool is None and torch.get_num_threads() > 1:
                self._pool = self._make()
        elif self._clock() - self._busy_at > CALM_S:
            self.close()

    def close(self) -> None:
        """Give the further pool up."""
        if self._pool is not None:
            self._pool.end()
            self._pool = None


class Pool:
    """A thread that has computed once, and so has a pool, and waits."""

    def __init__(self) -> None:
        made, self._over = threading.Event(), threading.Event()

        def compute() -> None:
            torch.ones(1 << 20).add_(1)  # enough for all threads
            made.set()
            self._over.wait()

        self._thread = threading.Thread(target=compute, name="further pool", daemon=True)
        self._thread.start()
        made.wait()

    def end(self) -> None:
        """Have the thread end, and its pool with it."""
        self._over.set()
        self._thread.join()


def _preempted() -> tuple[float, int]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime, usage.ru_nivcsw
