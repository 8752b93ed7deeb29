"""The child process that parses pictures: what comes in here is hostile, so nothing of value is in this process.

    python -m serve.imaging.decoder --max-pixels N --memory BYTES --timeout SECONDS

It says `BANNER` when it is ready, then answers requests until its input ends:

    request   length (4 bytes, big-endian), 1 where the file is a control map (1 byte, else 0), file
    answer    length (4 bytes, big-endian), JSON; then width x height x channels bytes where it is a picture
    JSON      {"width", "height", "channels": 3 | 4}  or  {"refused": "unsupported" | "invalid", "detail"}

Four channels are RGB and its opacity; what lies under it is the caller's business. `decode.Decoder` is the caller. It
starts this file by its path, so the child loads Pillow and the standard library only, and is ready the sooner. How a
file becomes a picture is `controlnet.pictures`' affair.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import struct
import warnings
from typing import Any, BinaryIO

from controlnet.pictures import PictureError, decode

BANNER = b"cn-decoder 1\n"
REQUEST = struct.Struct(">I?")
LENGTH = struct.Struct(">I")

_BAND = 1 << 22  # pixels sent at a time, so that the picture is never in memory twice


def serve(requests: BinaryIO, answers: BinaryIO, max_pixels: int, timeout: float) -> None:
    """Answer requests until they end.

    Args:
        requests: Blocking, buffered.
        answers: Likewise.
        max_pixels: See `decode`.
        timeout: Seconds after which the process dies in the middle of a request. The caller kills sooner than that;
            this is for the child of a caller that was itself killed while it waited.
    """
    while prefix := requests.read(REQUEST.size):
        # The signal's default action is the kernel's: no code of this process need be in a state to run.
        signal.setitimer(signal.ITIMER_REAL, timeout)
        length, is_map = REQUEST.unpack(prefix)
        _answer(requests.read(length), is_map, answers, max_pixels)
        signal.setitimer(signal.ITIMER_REAL, 0)


def main() -> None:
    """Bound this process, then serve on standard input and output."""
    options = argparse.ArgumentParser(description="Decode pictures from standard input.")
    options.add_argument("--max-pixels", type=int, required=True)
    options.add_argument("--memory", type=int, required=True)
    options.add_argument("--timeout", type=float, required=True)
    given = options.parse_args()

    resource.setrlimit(resource.RLIMIT_AS, (given.memory, given.memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])  # a mask is inherited from whoever starts us
    warnings.simplefilter("ignore")  # a picture must not write this platform's log
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a C library that prints must not speak in the protocol
    with os.fdopen(0, "rb", closefd=False) as requests, answers:
        answers.write(BANNER)
        answers.flush()
        serve(requests, answers, given.max_pixels, given.timeout)


def _answer(data: bytes, is_map: bool, answers: BinaryIO, max_pixels: int) -> None:
    try:
        image = decode(data, max_pixels, is_map=is_map)
    except PictureError as refused:
        _say(answers, {"refused": refused.kind, "detail": refused.detail})
    except MemoryError:
        _say(answers, {"refused": "invalid", "detail": "The picture could not be decoded: it needs too much memory."})
    else:
        width, height = image.size
        _say(answers, {"width": width, "height": height, "channels": len(image.getbands())})
        rows = max(1, _BAND // width)
        for top in range(0, height, rows):
            answers.write(image.crop((0, top, width, min(top + rows, height))).tobytes())
    answers.flush()


def _say(answers: BinaryIO, header: dict[str, Any]) -> None:
    text = json.dumps(header).encode()
    answers.write(LENGTH.pack(len(text)) + text)


if __name__ == "__main__":
    main()
