"""Files that clients sent -> pixels, by a child process that may crash, hang or be subverted without harm."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from controlnet.annotators import to_rgb
from serve.errors import Internal, InvalidRequest, UnsupportedMedia
from serve.imaging import decoder

log = logging.getLogger(__name__)

MEMORY = 2 << 30  # the worst of 40 million pixels, a lossless WebP with opacity, was seen to take 0.85 GB
TIMEOUT = 20.0  # and 8 s, on two cores that seven processes shared

_START_TIMEOUT = 60.0  # a start takes a quarter of a second
_MAX_HEADER = 1 << 16
_BAND = 1 << 20  # pixels laid over white at a time: the exact rule needs 32 bytes for each
_REFUSALS = {"unsupported": UnsupportedMedia, "invalid": InvalidRequest}


class Decoder:
    """Decodes one picture at a time in one warm child, replaced when a picture has broken it. Safe to share.

    A child costs about 30 MB and a quarter of a second to start, so it is kept; the next one starts while the failure
    of the last is being reported. When this process dies, however it dies, the child sees its input end and leaves.

    Args:
        max_pixels: Largest picture taken, width x height.
        memory: Bytes of address space the child may have.
        timeout: Seconds a picture may take, once the child is ready.
        program: What to run; the child of this package when absent.
    """

    def __init__(
        self, max_pixels: int, memory: int = MEMORY, timeout: float = TIMEOUT, program: Sequence[str] | None = None
    ) -> None:
        self._max_pixels = max_pixels
        self._timeout = timeout
        options = {"--max-pixels": max_pixels, "--memory": memory, "--timeout": timeout + 1}
        self._command = [
            *(program or (sys.executable, "-P", str(Path(decoder.__file__)))),
            *(word for name, value in options.items() for word in (name, str(value))),
        ]
        self._lock = threading.Lock()
        self._child: _Child | None = _Child(self._command)

    @property
    def pid(self) -> int | None:
        """The child's process id; none once closed."""
        return self._child.pid if self._child else None

    def decode(self, data: bytes, field: str, is_map: bool = False) -> NDArray[np.uint8]:
        """The pixels of a file.

        Args:
            data: A PNG, JPEG or WebP file.
            field: Request field to name in errors (`controls.0.image`).
            is_map: Whether it is a control map, whose levels are taken as they are stored.

        Returns:
            uint8 [H, W, 3], upright, over white where it was not opaque; sRGB unless it is a map.

        Raises:
            UnsupportedMedia: The file is no picture of an accepted kind.
            InvalidRequest: It is too large, animated, damaged or cut short, or decoding it took too long, too much
                memory, or the child's life.
            Internal: The child does not start.
            RuntimeError: The decoder is closed.
        """
        with self._lock:
            if self._child is None:
                raise RuntimeError("the decoder is closed")
            if self._child.ended:  # between two requests: no picture's fault
                self._replace()
            try:
                pixels = self._child.ask(data, is_map, self._timeout, self._max_pixels)
            except _NotReady:
                self._replace()
                raise Internal("The picture decoder did not start.") from None
            except _Late:
                self._replace()
                raise InvalidRequest(
                    f"The picture took longer than {self._timeout:g} s to decode.", field=field
                ) from None
            except _Broken as broken:
                log.warning("a picture broke the decoder: %s", broken)
                self._replace()
                raise InvalidRequest("The picture could not be decoded: it broke the decoder.", field=field) from None
            except BaseException:  # interrupted, or no room for the answer: what is left in the pipe is nobody's
                self._replace()
                raise
        if isinstance(pixels, dict):
            raise _REFUSALS[pixels["refused"]](pixels["detail"], field=field)
        return _over_white(pixels)

    def close(self) -> None:
        """End the child. Waits for a picture that is being decoded; closing again does nothing."""
        with self._lock:
            if self._child is not None:
                self._child.end()
                self._child = None

    def __enter__(self) -> Decoder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _replace(self) -> None:
        assert self._child is not None
        self._child.end()
        self._child = _Child(self._command)


class _NotReady(Exception):
    """The child ended before it was ready."""


class _Late(Exception):
    """The child was killed for taking too long."""


class _Broken(Exception):
    """The child ended, or said what makes no sense."""


class _Child:
    """One child process and the two pipes to it. Not safe to share."""

    def __init__(self, command: Sequence[str]) -> None:
        # No environment: the secrets in ours are no business of a process that parses strangers' files. Its path is
        # ours, so it finds the same Pillow. A session of its own: Ctrl-C is for us, and killing reaches all of it.
        path = os.pathsep.join(entry for entry in sys.path if entry)
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, env={"PYTHONPATH": path}
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to: IO[bytes] = self._process.stdin
        # Buffered, so that a read comes back short only where the child's output ends.
        self._from = cast("io.BufferedReader", self._process.stdout)
        self._ready = False

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def ask(self, data: bytes, is_map: bool, timeout: float, max_pixels: int) -> NDArray[np.uint8] | dict[str, Any]:
        """One request and its answer: pixels [H, W, 3 or 4], or the header of a refusal."""
        if not self._ready:  # its start is timed by itself: a picture pays for what it does itself
            with self._killed_after(_START_TIMEOUT):
                if self._from.read(len(decoder.BANNER)) != decoder.BANNER:
                    raise _NotReady
            self._ready = True
        with self._killed_after(timeout) as late:
            try:
                return self._exchange(data, is_map, max_pixels)
            except _Broken:
                if late.is_set():
                    raise _Late from None
                raise

    def end(self) -> None:
        """Kill the child and everything it started, and leave no zombie."""
        self._kill()
        self._process.wait()
        with contextlib.suppress(BrokenPipeError):
            self._to.close()
        self._from.close()

    @contextlib.contextmanager
    def _killed_after(self, seconds: float) -> Iterator[threading.Event]:
        """Blocking pipes and someone who kills: reads end when the child does, in whatever state it was."""
        late = threading.Event()

        def give_up() -> None:
            late.set()
            self._kill()

        timer = threading.Timer(seconds, give_up)
        timer.start()
        try:
            yield late
        finally:
            timer.cancel()
            timer.join()
            if late.is_set():  # perhaps just after the answer: the next request must find it ended, not ending
                self._process.wait()

    def _kill(self) -> None:
        if self._process.returncode is None:  # not yet waited for, so the number is still this child's
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _exchange(self, data: bytes, is_map: bool, max_pixels: int) -> NDArray[np.uint8] | dict[str, Any]:
        try:
            self._to.write(decoder.REQUEST.pack(len(data), is_map))
            self._to.write(data)
            self._to.flush()
        except BrokenPipeError:
            raise _Broken("it ended before it had read the picture") from None
        header = self._header()
        if "refused" in header:
            return header
        # Checked before room is made: a subverted child must not choose how much memory this process takes.
        width, height, channels = (header.get(name) for name in ("width", "height", "channels"))
        if not (isinstance(width, int) and isinstance(height, int) and channels in (3, 4)):
            raise _Broken(f"it answered {header}")
        if width < 1 or height < 1 or width * height > max_pixels:
            raise _Broken(f"it answered with {width}x{height} pixels")
        pixels = np.empty((height, width, channels), np.uint8)
        if self._from.readinto(pixels.data.cast("B")) != pixels.nbytes:
            raise _Broken("it ended in the middle of its answer")
        return pixels

    def _header(self) -> dict[str, Any]:
        prefix = self._from.read(decoder.LENGTH.size)
        if len(prefix) != decoder.LENGTH.size:
            raise _Broken("it ended without an answer")
        (length,) = decoder.LENGTH.unpack(prefix)
        if length > _MAX_HEADER:
            raise _Broken(f"its answer's header has {length} bytes")
        try:
            header = json.loads(self._from.read(length))
        except ValueError:
            raise _Broken("its answer's header is not JSON") from None
        if not isinstance(header, dict):
            raise _Broken("its answer's header is not an object")
        if "refused" in header and not (header["refused"] in _REFUSALS and isinstance(header.get("detail"), str)):
            raise _Broken(f"it answered {header}")
        return header


def _over_white(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[H, W, 3 or 4] -> [H, W, 3] by `to_rgb`, a band at a time."""
    if pixels.shape[2] == 3:
        return pixels
    height, width, _ = pixels.shape
    picture = np.empty((height, width, 3), np.uint8)
    rows = max(1, _BAND // width)
    for top in range(0, height, rows):
        picture[top : top + rows] = to_rgb(pixels[top : top + rows])
    return picture
