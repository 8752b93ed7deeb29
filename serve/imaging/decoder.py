"""The child process that parses pictures: what comes in here is hostile, so nothing of value is in this process.

    python -m serve.imaging.decoder --max-pixels N --memory BYTES --timeout SECONDS

It says `BANNER` when it is ready, then answers requests until its input ends:

    request   length (4 bytes, big-endian), file
    answer    length (4 bytes, big-endian), JSON; then width x height x channels bytes where it is a picture
    JSON      {"width", "height", "channels": 3 | 4}  or  {"refused": "unsupported" | "invalid", "detail"}

Four channels are RGB and its opacity; what lies under it is the caller's business. `decode.Decoder` is the caller. It
starts this file by its path, so the child loads Pillow and the standard library only, and is ready the sooner.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import resource
import signal
import struct
import warnings
from typing import Any, BinaryIO, Literal

from PIL import Image, ImageCms
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

BANNER = b"cn-decoder 1\n"
LENGTH = struct.Struct(">I")

_KINDS = (  # the classes themselves, not Image.open: no other format can be reached
    (re.compile(rb"\x89PNG\r\n\x1a\n"), PngImageFile),
    (re.compile(rb"\xff\xd8\xff"), JpegImageFile),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), WebPImageFile),
)
_ORIENTATION = 0x0112
_TURNS = {  # what undoes each EXIF orientation (EXIF 2.3, table 4)
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_BAND = 1 << 22  # pixels sent at a time, so that the picture is never in memory twice


class Refused(Exception):
    """The file is not a picture that is taken; `kind` says whose error it is, the text says why."""

    def __init__(self, kind: Literal["unsupported", "invalid"], detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


def decode(data: bytes, max_pixels: int) -> Image.Image:
    """A file's picture, upright, in sRGB, as `RGB`, or as `RGBA` where some of it is not opaque.

    Args:
        data: The file.
        max_pixels: Bound on width x height, checked before pixels are decoded.

    Raises:
        Refused: It is no PNG, JPEG or WebP, or too large, animated, damaged or cut short.
    """
    opener = next((kind for magic, kind in _KINDS if magic.match(data)), None)
    if opener is None:
        raise Refused("unsupported", "This is not a PNG, JPEG or WebP picture.")
    try:
        image: Image.Image = opener(io.BytesIO(data))
        width, height = image.size
        # A phone's JPEG may hold a second picture (MPO); one that moves is what is refused.
        frames = int(getattr(image, "n_frames", 1))
    except MemoryError:
        raise
    except Exception:  # hostile headers make Pillow raise SyntaxError, struct.error, OSError, ValueError ...
        raise Refused("invalid", "The picture's header is damaged.") from None
    if width < 1 or height < 1:
        raise Refused("invalid", f"The picture is {width}x{height}: it has no pixels.")
    if width * height > max_pixels:
        raise Refused(
            "invalid",
            f"The picture is {width}x{height}, {width * height} pixels: at most {max_pixels} are accepted.",
        )
    if frames > 1:
        raise Refused("invalid", "The picture is animated: send a single frame.")
    turn = _TURNS.get(_orientation(image))
    try:
        image.load()
        upright = _normalise(image)
    except MemoryError:
        raise
    except Exception:
        raise Refused("invalid", "The picture could not be decoded: it is damaged or cut short.") from None
    return upright if turn is None else upright.transpose(turn)


def serve(requests: BinaryIO, answers: BinaryIO, max_pixels: int, timeout: float) -> None:
    """Answer requests until they end.

    Args:
        requests: Blocking, buffered.
        answers: Likewise.
        max_pixels: See `decode`.
        timeout: Seconds after which the process dies in the middle of a request. The caller kills sooner than that;
            this is for the child of a caller that was itself killed while it waited.
    """
    while prefix := requests.read(LENGTH.size):
        # The signal's default action is the kernel's: no code of this process need be in a state to run.
        signal.setitimer(signal.ITIMER_REAL, timeout)
        data = requests.read(LENGTH.unpack(prefix)[0])
        _answer(data, answers, max_pixels)
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


def _answer(data: bytes, answers: BinaryIO, max_pixels: int) -> None:
    try:
        image = decode(data, max_pixels)
    except Refused as refused:
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


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 .. 8. A damaged EXIF block turns nothing."""
    try:
        # The base class's method: that of PNG decodes all pixels in search of a late EXIF chunk, and the api, which
        # chose the size to sample at, did not.
        return int(Image.Image.getexif(image).get(_ORIENTATION, 1))
    except Exception:
        return 1


def _normalise(image: Image.Image) -> Image.Image:
    """Any mode that PNG, JPEG and WebP have -> RGB in sRGB, with its opacity where some of it is not opaque."""
    profile = image.info.get("icc_profile")
    colour, alpha = _planes(image)
    colour = _to_srgb(colour, profile) if profile else colour.convert("RGB")
    if alpha is not None and alpha.getextrema() != (255, 255):
        colour.putalpha(alpha)
    return colour


def _planes(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Colour as L, RGB or CMYK of 8 bits, and opacity as L if there is any."""
    if image.mode == "I;16":
        wide, levels = image.convert("I"), range(1 << 16)
        key = image.info.get("transparency")
        alpha = None if key is None else wide.point([255 * (level != key) for level in levels], "L")
        return wide.point([(level + 128) // 257 for level in levels], "L"), alpha  # the nearest of 256 levels
    if image.has_transparency_data:
        image = image.convert("RGBA") if image.mode not in ("LA", "RGBA") else image
        return image.convert(image.mode[:-1]), image.getchannel("A")
    return image.convert({"1": "L", "P": "RGB"}.get(image.mode, image.mode)), None


def _to_srgb(colour: Image.Image, profile: bytes) -> Image.Image:
    """Colour under an embedded ICC profile -> sRGB. A profile that is damaged or for another mode is ignored."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if (source.profile.profile_description or "").startswith("sRGB"):
            return colour.convert("RGB")  # most are; rounding must not change what is right already
        made = ImageCms.profileToProfile(colour, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        made = None
    return made if made is not None else colour.convert("RGB")


if __name__ == "__main__":
    main()
