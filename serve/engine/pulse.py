"""The heartbeat of a loop: how a stalled one is told from an idle one."""

from __future__ import annotations

from collections.abc import Callable


class Pulse:
    """Seconds since work last went on; they count only while there is some. Read without a lock.

    Args:
        clock: Monotonic seconds.
        busy: Whether there is work.
    """

    def __init__(self, clock: Callable[[], float], busy: Callable[[], bool]) -> None:
        self._clock = clock
        self._busy = busy
        self._last = clock()

    def beat(self) -> None:
        """Work has gone on."""
        self._last = self._clock()

    def wake(self) -> None:
        """Work is about to come; if there was none, counting begins now."""
        if not self._busy():
            self.beat()

    @property
    def age(self) -> float:
        """Seconds since, 0 without work."""
        return self._clock() - self._last if self._busy() else 0.0
