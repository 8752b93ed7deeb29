"""A process of the platform that is started again when it ends, unless it cannot even start."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from serve.errors import OperatorError

SOON_S = 10.0
"""A process that ends within this time of its start has failed to start, and so has one that never answered."""

FAILED_STARTS = 3
"""In a row; after so many it is the person at the terminal who has to change something."""

LAST_LINES = 5


class ChildFailed(OperatorError, RuntimeError):
    """The process ends whenever it is started; the message has its last lines."""


class Child:
    """One process, its output appended to a file.

    Args:
        name: For messages.
        command: What to run.
        log: Where its output goes.
        answers: Whether it does what it was started for; asked until it does.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        answers: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name, self._command, self._log, self._clock = name, list(command), log, clock
        self._answers = answers
        self._failed_starts = 0
        self._good = self._ever = False
        self._start()

    def look(self) -> bool:
        """Start the process again if it has ended.

        Returns:
            Whether it had.

        Raises:
            ChildFailed: It ended by itself before it ever answered, or failed to start several times in a row.
        """
        code = self._process.poll()
        if code is None:
            if not self._good and self._answers():
                self._good = self._ever = True
            return False
        failed = not self._good or self._clock() - self._began < SOON_S
        self._failed_starts = self._failed_starts + 1 if failed else 0
        by_itself = code >= 0  # a signal says nothing of whether it can start
        if self._failed_starts == FAILED_STARTS or (by_itself and not self._ever):
            raise ChildFailed(
                "\n".join([f"The {self._name} ended with code {code}: {self._log} has more.", *self._tail()])
            )
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
            self._said_before = log.tell()
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        self._began = self._clock()
        self._good = False

    def _tail(self) -> list[str]:
        """The last lines of the process, as a person reads them: without the steps of a traceback."""
        with self._log.open("rb") as log:
            log.seek(self._said_before)
            lines = log.read().decode(errors="replace").splitlines()
        said = [_spoken(line) for line in lines[-50:] if line.strip() and not line.startswith((" ", "Traceback "))]
        return said[-LAST_LINES:]


def _spoken(line: str) -> str:
    """What a line of the log says: of JSON the message and what the exception came to, of another itself."""
    try:
        entry = json.loads(line)
    except ValueError:
        return line
    if not isinstance(entry, dict) or "message" not in entry:
        return line
    *_, reason = ["", *str(entry.get("exception", "")).strip().splitlines()]
    return f"{entry['message']}{f': {reason}' if reason else ''}"
