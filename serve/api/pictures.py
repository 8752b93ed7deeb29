"""Pictures that clients send, judged by their headers. Pixels are never decoded in this process."""

from __future__ import annotations

import base64
import binascii
import io
import re
import struct
from dataclasses import dataclass

from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from controlnet.pictures import on_its_side
from serve.errors import InvalidRequest, UnsupportedMedia

ACCEPTED = "PNG, JPEG or WebP"
_DATA_URL = re.compile(r"data:[\w.+-]+/[\w.+-]+(?:;[\w.+-]+=[\w.+-]+)*;base64,", re.ASCII)
_PLAIN = str.maketrans({"-": "+", "_": "/", "\r": None, "\n": None})
_REFUSED = (  # known by their first bytes, so that the error can say what was sent
    ("GIF", b"GIF8"),
    ("TIFF", b"II*\0"),
    ("TIFF", b"MM\0*"),
    ("EPS", b"%!PS"),
    ("EPS", b"\xc5\xd0\xd3\xc6"),
    ("PDF", b"%PDF"),
    ("BMP", b"BM"),
    ("JPEG 2000", b"\0\0\0\x0cjP"),
    ("ZIP", b"PK\x03\x04"),
)

MOST_PARTS = 2000
"""PNG chunks, or JPEG segments and bytes between them, before the pixels. Pillow takes each in Python, so that millions
of empty ones, 32 MB of them, would hold this process for many seconds; files of honest programs have dozens."""

_TO_MARKER = re.compile(rb"[^\xff]*+\xff++")
_ALONE = frozenset({0x00, 0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xFE)})  # no length follows, or Pillow reads none
_SCAN = 0xDA


@dataclass(frozen=True, slots=True)
class Header:
    """What a picture says of itself: its size in pixels as shown, that is, after its EXIF orientation."""

    width: int
    height: int
    suffix: str


def read_header(data: bytes, field: str, max_pixels: int) -> Header:
    """Check a picture as far as its header tells.

    Args:
        data: The file.
        field: Dotted path for errors.
        max_pixels: Bound on width * height.

    Raises:
        UnsupportedMedia: No picture, or none of an accepted kind.
        InvalidRequest: Animated, too large, without area, or a header that can't be read.
    """
    suffix = _kind(data, field)
    opener, size_of = {
        ".png": (PngImageFile, _png_size),
        ".jpg": (JpegImageFile, None),
        ".webp": (WebPImageFile, _webp_size),
    }[suffix]
    if size_of is not None:  # before Pillow makes room for anything of that size
        _check_size(size_of(data, field), field, max_pixels)
    if _parts(data, suffix) > MOST_PARTS:
        raise InvalidRequest(f"The picture's header has more than {MOST_PARTS} parts.", field=field)
    try:
        # The class itself, not Image.open: its own bomb warning comes at another bound and is a process-wide matter.
        with opener(io.BytesIO(data)) as image:
            width, height = image.size
            _check_size(image.size, field, max_pixels)
            if getattr(image, "n_frames", 1) > 1:
                raise InvalidRequest("The picture is animated: send a single frame.", field=field)
            turned = on_its_side(image)
    except InvalidRequest:
        raise
    except Exception:  # a hostile header makes Pillow raise SyntaxError, struct.error, OSError, ValueError ...
        raise InvalidRequest("The picture's header is damaged.", field=field) from None
    return Header(height, width, suffix) if turned else Header(width, height, suffix)


def decode_base64(text: str, field: str) -> bytes:
    """The bytes of base64 text, with or without a `data:` URL's prefix.

    Both alphabets of RFC 4648 are taken, with or without line breaks and padding; any other character is refused.

    Raises:
        InvalidRequest: It is not base64.
    """
    prefix = _DATA_URL.match(text, 0, 200)
    if text[:4].lower() == "map_":  # digits of the URL alphabet, too
        raise InvalidRequest("This is not the id of a map that can be used here.", field=field)
    try:
        digits = (text[prefix.end() :] if prefix else text).translate(_PLAIN).rstrip("=")
        return base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequest(
            "This is neither base64 (optionally a data: URL) nor the name of an uploaded file.", field=field
        ) from None


def _kind(data: bytes, field: str) -> str:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return ".png"
    if data.startswith(b"\xff\xd8\xff"):
        return ".jpg"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return ".webp"
    for name, magic in _REFUSED:
        if data.startswith(magic):
            raise UnsupportedMedia(f"This is {name}, which is not accepted: send {ACCEPTED}.", field=field)
    if re.match(rb"\s*(<\?xml|<svg|<!doctype|<!--)", data[:256].removeprefix(b"\xef\xbb\xbf"), re.IGNORECASE):
        raise UnsupportedMedia(f"This is SVG or another XML, which is not accepted: send {ACCEPTED}.", field=field)
    what = "The picture is empty" if not data else "This is not a picture of a known kind"
    raise UnsupportedMedia(f"{what}: send {ACCEPTED}.", field=field)


def _check_size(size: tuple[int, int], field: str, max_pixels: int) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise InvalidRequest(f"The picture is {width}x{height}: it has no pixels.", field=field)
    if width * height > max_pixels:
        raise InvalidRequest(
            f"The picture is {width}x{height}, {width * height} pixels: at most {max_pixels} are accepted.", field=field
        )


def _png_size(data: bytes, field: str) -> tuple[int, int]:
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise InvalidRequest("The picture's header is damaged.", field=field)
    width, height = struct.unpack(">II", data[16:24])
    return width, height


def _parts(data: bytes, suffix: str) -> int:
    """How many Pillow takes one by one; libwebp takes those of a WebP."""
    if suffix == ".webp":
        return 0
    return _png_parts(data) if suffix == ".png" else _jpeg_parts(data)


def _png_parts(data: bytes) -> int:
    """Chunks before the pixels, counted as far as matters (PNG specification, section 5.3)."""
    count, place = 0, 8
    while count <= MOST_PARTS and place + 8 <= len(data) and data[place + 4 : place + 8] != b"IDAT":
        place += 12 + int.from_bytes(data[place : place + 4], "big")
        count += 1
    return count


def _jpeg_parts(data: bytes) -> int:
    """Segments before the pixels and bytes between them, counted as far as matters (T.81, section B.1.1)."""
    count, place = 0, 0
    while count <= MOST_PARTS and (found := _TO_MARKER.match(data, place)) and found.end() < len(data):
        count += found.end() - place
        marker, place = data[found.end()], found.end() + 1
        if marker == _SCAN:
            break
        if marker not in _ALONE:
            place += max(2, int.from_bytes(data[place : place + 2], "big"))
    return count


def _webp_size(data: bytes, field: str) -> tuple[int, int]:
    """The canvas of a WebP file (RFC 9649, sections 2.5 to 2.7). Opening one makes room for its canvas twice."""
    kind = data[12:16]
    if len(data) >= 30:
        if kind == b"VP8X":
            return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
        if kind == b"VP8L" and data[20] == 0x2F:
            bits = int.from_bytes(data[21:25], "little")
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
            width, height = struct.unpack("<HH", data[26:30])
            return width & 0x3FFF, height & 0x3FFF
    raise InvalidRequest("The picture's header is damaged.", field=field)
