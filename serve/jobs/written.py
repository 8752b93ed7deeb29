"""Whether a file was written, told by Linux's inotify instead of asked every few milliseconds.

No library for one call: `watchfiles` gathers events for 50 ms before it tells of them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterator
from pathlib import Path

_MODIFY, _CREATE, _MOVED_TO, _OVERFLOW = 0x2, 0x100, 0x80, 0x4000
_HEADER = struct.Struct("iIII")  # watch, what happened, a cookie, and the length of the name that follows


class Written:
    """Watches a folder for writes to files of its own, by any process of this machine; a loop's reader is `fileno`.

    Args:
        folder: Is there.
        names: Of the files; they need not be there.

    Raises:
        OSError: There is no inotify, or no more watches are allowed.
    """

    def __init__(self, folder: Path, names: frozenset[str]) -> None:
        self._names = names
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            self._number: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        except AttributeError as error:
            raise OSError("this system has no inotify") from error
        if self._number < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        if libc.inotify_add_watch(self._number, os.fsencode(folder), _MODIFY | _CREATE | _MOVED_TO) < 0:
            self.close()
            raise OSError(ctypes.get_errno(), "inotify_add_watch", str(folder))

    def fileno(self) -> int:
        """Readable when something was written in the folder."""
        return self._number

    def read(self) -> bool:
        """Whether one of the files was written since the last look."""
        return not self._names.isdisjoint(list(self._events()))

    def close(self) -> None:
        """Stop watching."""
        os.close(self._number)

    def _events(self) -> Iterator[str]:
        """Names of the files that were written; where there were too many events, each of those that are watched."""
        events = b""
        with contextlib.suppress(BlockingIOError):
            events = os.read(self._number, 1 << 16)
        while events:
            _, what, _, length = _HEADER.unpack_from(events)
            name = events[_HEADER.size : _HEADER.size + length].rstrip(b"\0")
            events = events[_HEADER.size + length :]
            if what & _OVERFLOW:
                yield from self._names
            yield os.fsdecode(name)
