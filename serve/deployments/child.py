"""A process of the platform that is started again when it ends, unless it cannot even start."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

SOON_S = 10.0
"""A process that ends within this time of its start has failed to start."""

FAILED_STARTS = 3
"""In a row; after so many it is the person at the terminal who has to change something."""


class ChildFailed(RuntimeError):
    """The process ends whenever it is started; the message has its last lines."""


class Child:
    """One process, its output appended to a file.

    Args:
        name: For messages.
        command: What to run.
        log: Where its output goes.
        clock: Monotonic seconds.
    """

    def __init__(
        self, name: str, command: Sequence[str], log: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._name, self._command, self._log, self._clock = name, list(command), log, clock
        self._failed_starts = 0
        self._start()

    def look(self) -> bool:
        """Start the process again if it has ended.

        Returns:
            Whether it had.

        Raises:
            ChildFailed: It ended soon after its start, several times in a row.
        """
        code = self._process.poll()
        if code is None:
            return False
        self._failed_starts = self._failed_starts + 1 if self._clock() - self._began < SOON_S else 0
        if self._failed_starts == FAILED_STARTS:
            tail = self._log.read_text(errors="replace").splitlines()[-5:]
            raise ChildFailed("\n".join([f"The {self._name} ended with code {code}. Its last lines:", *tail]))
        self._start()
        return True

    def stop(self, patience: float = 10) -> None:
        """Ask the process to end, and after `patience` seconds don't ask."""
        self._process.terminate()
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        self._began = self._clock()
