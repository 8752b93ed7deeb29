"""Ten thousand hostile pictures from a few honest ones, the same ones every time.

`crafted()` are written by hand: each is one known trick. `mutated()` are honest files of every accepted kind, broken at
random: bits, lengths, sizes, chunks and segments moved, doubled, lost, exchanged between files.
"""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from tests.pictures import (
    PNG_MAGIC,
    RAMP,
    animated,
    black_png,
    chunk,
    exif,
    jpeg_of_size,
    linear_grey_profile,
    png,
    png_header,
    saved,
    swapped_profile,
    webp_header,
)

SIZE = 10_000
SEED = 20_261_124
_EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def seeds() -> dict[str, bytes]:
    """Honest files of every accepted kind and mode, by name. All are pictures."""
    picture = Image.fromarray(RAMP)
    faint = Image.fromarray(np.dstack([RAMP, RAMP[:, :, :1]]))
    palette = picture.quantize(16)
    wide = (RAMP.astype(">u2") * 257).tobytes()
    late = chunk(b"eXIf", exif(6).tobytes()[6:])
    return {
        "png": saved(picture, exif=exif(3), icc_profile=swapped_profile()),
        "png grey": saved(picture.convert("L"), icc_profile=linear_grey_profile()),
        "png grey, opacity": saved(faint.convert("LA")),
        "png opacity": saved(faint),
        "png palette": saved(palette, transparency=3),
        "png one bit": saved(picture.convert("1")),
        "png 16 bits": png(16, 12, 16, 2, wide, late),
        "png grey of 16 bits": png(16, 12, 16, 0, wide[: 16 * 12 * 2], chunk(b"tRNS", b"\0\7")),
        "png density": saved(picture, dpi=(72, 72)),
        "jpeg": saved(picture, "JPEG", exif=exif(6), icc_profile=swapped_profile()),
        "jpeg progressive": saved(picture, "JPEG", progressive=True, subsampling=0),
        "jpeg grey": saved(picture.convert("L"), "JPEG"),
        "jpeg cmyk": saved(picture.convert("CMYK"), "JPEG"),
        "jpeg of two": saved(picture, "MPO", save_all=True, append_images=[picture]),
        "webp": saved(picture, "WEBP", exif=exif(8), icc_profile=swapped_profile()),
        "webp lossless": saved(picture, "WEBP", lossless=True),
        "webp opacity": saved(faint, "WEBP", quality=50),
        "one pixel": saved(RAMP[:1, :1]),
        "a strip": saved(np.zeros((1, 4000, 3), np.uint8)),
        "a column": saved(np.zeros((4000, 1, 3), np.uint8), "WEBP", lossless=True),
    }


def crafted() -> dict[str, bytes]:
    """One trick each. None is taken but those whose name begins with `taken`."""
    row = zlib.compress(bytes(1 + 48) * 12)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 12, 8, 2, 0, 0, 0))
    bomb = zlib.compress(bytes(1 << 24), 9)
    end = chunk(b"IEND", b"")
    body = chunk(b"IDAT", row) + end
    jpeg = saved(RAMP, "JPEG")
    return {
        "a gif": saved(RAMP, "GIF"),
        "a moving gif": animated("GIF"),
        "a moving png": animated("PNG"),
        "a moving webp": animated("WEBP"),
        "a tiff": saved(RAMP, "TIFF"),
        "an eps": saved(RAMP, "EPS"),
        "an svg": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
        "a pdf": b"%PDF-1.7\n",
        "a zip": b"PK\x03\x04" + bytes(100),
        "an archive of a pickle": b"\x80\x04\x95" + bytes(100),
        "a script": b"#!/bin/sh\nid\n",
        "nothing": b"",
        "a magic alone": PNG_MAGIC,
        "a png of nobody's size": png_header(2**31 - 1, 2**31 - 1),
        "a png without width": png_header(0, 10),
        "a png that claims more than it has": png_header(1000, 1000),
        "a webp of nobody's size": webp_header(16_384, 16_384),
        "a jpeg of nobody's size": jpeg_of_size(65_535, 65_535),
        "a jpeg without height": jpeg_of_size(16, 0),
        "a bomb of zeros": black_png(20_000),
        "taken: a png of many headers": PNG_MAGIC + header * 1000 + body,
        "a png without palette": PNG_MAGIC + chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 12, 8, 3, 0, 0, 0)) + body,
        "a png of no known depth": PNG_MAGIC + chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 12, 3, 2, 0, 0, 0)) + body,
        "a png of an unknown filter": PNG_MAGIC + header + chunk(b"IDAT", zlib.compress(b"\x09" * 49 * 12)) + end,
        "a png with a profile that inflates": PNG_MAGIC + header + chunk(b"iCCP", b"p\0\0" + bomb) + body,
        "a png with a text that inflates": PNG_MAGIC + header + chunk(b"zTXt", b"p\0\0" + bomb) + body,
        "a png with an international text that inflates": PNG_MAGIC
        + header
        + chunk(b"iTXt", b"p\0\1\0\0\0" + bomb)
        + body,
        "a png with many texts that inflate": PNG_MAGIC
        + header
        + chunk(b"zTXt", b"p\0\0" + zlib.compress(bytes(1 << 19), 9)) * 2000
        + body,
        "taken: a chunk longer than the file": PNG_MAGIC + header + struct.pack(">I", 2**31 - 1) + b"IDAT" + row,
        "a jpeg of endless segments": jpeg[:2] + b"\xff\xe1\x00\x02" * 200_000 + jpeg[2:40],
        "a webp that claims a gigabyte": b"RIFF" + struct.pack("<I", 1 << 30) + saved(RAMP, "WEBP")[8:40],
        "taken: exif that points at itself": saved(RAMP, "JPEG", exif=_looping_exif()),
        "taken: deep xmp": saved(RAMP, "JPEG", xmp=b"<x>" * 9000),
        "taken: a profile of noise": saved(RAMP, icc_profile=random.Random(SEED).randbytes(40_000)),
        "taken: a picture and more": saved(RAMP) + b"PK\x03\x04<script>",
        "taken: many segments": jpeg[:2] + (b"\xff\xfe\x00\x10" + bytes(14)) * 1000 + jpeg[2:],
    }


def mutated(count: int, seed: int = SEED) -> Iterator[tuple[str, bytes]]:
    """So many broken files, each with a name that tells how it came to be."""
    rng = random.Random(seed)
    honest = list(seeds().items())
    ways = (_bits, _edge, _cut, _gap, _doubled, _inserted, _size, _spliced, _parts)
    for i in range(count):
        name, data = honest[i % len(honest)]
        other = rng.choice(honest)[1]
        made = []
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            way = rng.choice(ways)
            data = way(data, other, rng)
            made.append(way.__name__.strip("_"))
        if i // len(honest) % 2:  # a wrong checksum is where every other PNG would end
            data = _repaired(data)
        yield f"{i}: {name}, {', '.join(made)}", data


def _at(data: bytes, rng: random.Random) -> int:
    """A place in it; headers are where the decisions are, so every other one is there."""
    return rng.randrange(max(1, min(len(data), 120) if rng.random() < 0.5 else len(data)))


def _bits(data: bytes, other: bytes, rng: random.Random) -> bytes:
    broken = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 32))):
        if broken:
            broken[_at(data, rng)] ^= 1 << rng.randrange(8)
    return bytes(broken)


def _edge(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A number at the end of its range where there may have been one."""
    form = rng.choice((">B", ">H", "<H", ">I", "<I"))
    value = struct.pack(form, rng.choice(_EDGES) & (1 << 8 * struct.calcsize(form)) - 1)
    place = _at(data, rng)
    return data[:place] + value + data[place + len(value) :]


def _cut(data: bytes, other: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _gap(data: bytes, other: bytes, rng: random.Random) -> bytes:
    place = _at(data, rng)
    return data[:place] + data[place + rng.randrange(1, 64) :]


def _doubled(data: bytes, other: bytes, rng: random.Random) -> bytes:
    place = _at(data, rng)
    length = rng.randrange(1, 64)
    return data[:place] + data[place : place + length] * rng.randrange(2, 50) + data[place + length :]


def _inserted(data: bytes, other: bytes, rng: random.Random) -> bytes:
    place = _at(data, rng)
    return data[:place] + rng.randbytes(rng.randrange(1, 200)) + data[place:]


def _size(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Another width and height, where the kind has them; a PNG's checksum is made to fit."""
    width, height = (rng.choice((0, 1, 17, 1000, 4000, 65_535, 2**24 - 1, 2**31 - 1)) for _ in range(2))
    if data.startswith(PNG_MAGIC) and len(data) > 33:
        return PNG_MAGIC + chunk(b"IHDR", struct.pack(">II", width, height) + data[24:29]) + data[33:]
    for frame in (b"\xff\xc0", b"\xff\xc2"):
        if frame in data:
            place = data.index(frame) + 5
            return data[:place] + struct.pack(">HH", height & 0xFFFF, width & 0xFFFF) + data[place + 4 :]
    return data[:24] + struct.pack("<I", width)[:3] + struct.pack("<I", height)[:3] + data[30:]


def _spliced(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """One file's beginning, another's end."""
    return data[: _at(data, rng)] + other[_at(other, rng) :]


def _parts(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """A PNG's chunks or a JPEG's segments lost, doubled, moved, and some of another file's among them."""
    if data.startswith(PNG_MAGIC):
        parts = _chunks(data) + (_chunks(other) if rng.random() < 0.3 else [])
        return PNG_MAGIC + b"".join(_shuffled(parts, rng))
    parts = [b"\xff" + part for part in data.split(b"\xff")[1:]]
    return b"".join(_shuffled(parts, rng)) if parts else data


def _chunks(data: bytes) -> list[bytes]:
    found, place = [], len(PNG_MAGIC)
    while data.startswith(PNG_MAGIC) and place + 8 <= len(data):
        end = place + 12 + struct.unpack_from(">I", data, place)[0]
        found.append(data[place:end])
        place = end
    return found


def _repaired(data: bytes) -> bytes:
    """A PNG whose checksums fit what its chunks hold now, as far as they can be told apart."""
    parts = _chunks(data)
    fitting = (part[:-4] + struct.pack(">I", zlib.crc32(part[4:-4])) if len(part) >= 12 else part for part in parts)
    return PNG_MAGIC + b"".join(fitting) if parts else data


def _shuffled(parts: list[bytes], rng: random.Random) -> list[bytes]:
    if len(parts) < 2:
        return parts
    first, *rest = parts  # without its head no file gets far
    for _ in range(rng.randrange(1, 4)):
        place = rng.randrange(len(rest) or 1)
        act = rng.randrange(3)
        if act == 0 and rest:
            rest.pop(place)
        elif act == 1 and rest:
            rest[place:place] = [rest[place]] * rng.randrange(1, 20)
        else:
            rng.shuffle(rest)
    return [first, *rest]


def _looping_exif() -> bytes:
    """An EXIF directory (TIFF 6.0, section 2) whose next one is itself, and whose sub-directory, too."""
    entry = struct.pack("<HHII", 0x8769, 4, 1, 8)
    return b"Exif\0\0II*\0" + struct.pack("<I", 8) + struct.pack("<H", 1) + entry + struct.pack("<I", 8)
