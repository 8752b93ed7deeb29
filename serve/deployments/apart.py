"""When suspects run: jobs whose worker died, each alone, while all other jobs wait. Pure policy.

A turn of theirs begins when one is ready, and lasts until none is: what runs ends first, then they run one after the
other. Afterwards ordinary jobs have at least as much time, unless there are none.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class Apart:
    """Whose turn it is.

    Args:
        longest: Seconds after which a turn of suspects is over, though one is ready or what runs has not ended.
        clock: Monotonic seconds.
    """

    def __init__(self, longest: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._longest = longest
        self._clock = clock
        self._began: float | None = None
        self._next = float("-inf")

    def turn(self, ready: bool, idle: bool) -> bool:
        """Whether it is the suspects' turn, so that no ordinary job may start.

        Args:
            ready: Whether one of them may start now.
            idle: Whether no ordinary job runs or waits.
        """
        now = self._clock()
        if self._began is not None and (not ready or now - self._began > self._longest):
            self._next, self._began = 2 * now - self._began, None
        elif self._began is None and ready and (idle or now >= self._next):
            self._began = now
        return self._began is not None
