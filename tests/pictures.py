"""Pictures byte by byte: what no library writes, or what tests must know the inside of."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
RAMP: Pixels = (np.arange(12 * 16 * 3).reshape(12, 16, 3) * 7 % 256).astype(np.uint8)
"""A picture whose every row and column differs."""


def saved(picture: Image.Image | Pixels, kind: str = "PNG", **options: Any) -> bytes:
    """What Pillow writes."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *chunks: bytes) -> bytes:
    """A PNG from packed rows without filter bytes (PNG specification, section 11.2)."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    stride = len(rows) // height if height else 0
    filtered = b"".join(b"\0" + rows[y * stride : (y + 1) * stride] for y in range(height))
    data = chunk(b"IDAT", zlib.compress(filtered, 1))
    return PNG_MAGIC + header + b"".join(chunks) + data + chunk(b"IEND", b"")


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has no pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return PNG_MAGIC + header + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def black_png(side: int) -> bytes:
    """A square of one bit a pixel: a few kilobytes, whatever its size."""
    return png(side, side, 1, 0, bytes((side + 7) // 8 * side))


def webp_header(width: int, height: int) -> bytes:
    """A WebP that claims a canvas (RFC 9649, section 2.7) and has no pixels."""
    canvas = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + canvas
    return b"RIFF" + struct.pack("<I", len(body)) + body


def jpeg_of_size(width: int, height: int) -> bytes:
    """A JPEG whose frame header (T.81, B.2.2) claims another size than its pixels have."""
    data = saved(RAMP, "JPEG")
    frame = data.index(b"\xff\xc0")
    return data[: frame + 5] + struct.pack(">HH", height, width) + data[frame + 9 :]


def animated(kind: str) -> bytes:
    frames = [Image.new("RGB", (16, 16), (shade, 0, 0)) for shade in (0, 200)]
    return saved(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)


def exif(orientation: int) -> Image.Exif:
    block = Image.Exif()
    block[0x0112] = orientation
    return block


def icc(space: bytes, description: bytes = b"made up", **tags: bytes) -> bytes:
    """A display profile of ICC version 2.4 (ICC.1:2001-04, sections 6.1 to 6.5)."""
    text = b"desc" + bytes(4) + struct.pack(">I", len(description) + 1) + description + bytes(79)
    contents = {b"desc": text, b"cprt": b"text" + bytes(4) + b"none\0", b"wtpt": xyz(0.9642, 1.0, 0.8249)}
    contents |= {name.encode(): value for name, value in tags.items()}
    table, body = struct.pack(">I", len(contents)), b""
    for name, value in contents.items():
        table += name + struct.pack(">II", 132 + 12 * len(contents) + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    header = struct.pack(">I4sI4s4s4s", 0, b"lcms", 0x02400000, b"mntr", space, b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + struct.pack(">iii", 63190, 65536, 54061)
    profile = header.ljust(128, b"\0") + table + body
    return struct.pack(">I", len(profile)) + profile[4:]


def xyz(*values: float) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">iii", *(round(value * 65536) for value in values))


def gamma(value: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(value * 256))


def swapped_profile(description: bytes = b"made up") -> bytes:
    """sRGB's primaries with red and green exchanged: what it calls red is green."""
    red, green, blue = xyz(0.4361, 0.2225, 0.0139), xyz(0.3851, 0.7169, 0.0971), xyz(0.1431, 0.0606, 0.7141)
    curves = dict.fromkeys(("rTRC", "gTRC", "bTRC"), gamma(2.2))
    return icc(b"RGB ", description, rXYZ=green, gXYZ=red, bXYZ=blue, **curves)


def linear_grey_profile() -> bytes:
    return icc(b"GRAY", kTRC=gamma(1.0))
