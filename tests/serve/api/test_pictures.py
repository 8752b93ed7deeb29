"""Pictures judged by their headers."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import pytest
from PIL import Image, ImageFile

from serve.api.pictures import Header, decode_base64, read_header
from serve.errors import InvalidRequest, ServeError, UnsupportedMedia
from tests.serve.api.conftest import picture

MAX_PIXELS = 1_000_000


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width: int, height: int) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def webp_of(width: int, height: int) -> bytes:
    canvas = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + canvas
    return b"RIFF" + struct.pack("<I", len(body)) + body


def animated(kind: str) -> bytes:
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (16, 16), (shade, 0, 0)) for shade in (0, 200)]
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:], duration=50)
    return buffer.getvalue()


def saved(kind: str, mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (16, 16)).save(buffer, kind)
    return buffer.getvalue()


def caught(data: bytes, max_pixels: int = MAX_PIXELS) -> ServeError:
    with pytest.raises(ServeError) as error:
        read_header(data, "image", max_pixels)
    assert error.value.field == "image"
    return error.value


@pytest.mark.parametrize(("kind", "suffix"), [("PNG", ".png"), ("JPEG", ".jpg"), ("WEBP", ".webp")])
def test_accepted_kinds(kind: str, suffix: str) -> None:
    assert read_header(picture(30, 20, kind), "image", MAX_PIXELS) == Header(30, 20, suffix)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "I;16", "1"])
def test_unusual_modes_are_for_imaging_to_normalise(mode: str) -> None:
    assert read_header(saved("PNG", mode), "image", MAX_PIXELS).width == 16


def test_cmyk_is_for_imaging_to_normalise() -> None:
    assert read_header(saved("JPEG", "CMYK"), "image", MAX_PIXELS).width == 16


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize(("orientation", "size"), [(1, (30, 20)), (3, (30, 20)), (6, (20, 30)), (8, (20, 30))])
def test_exif_orientation_counts(kind: str, orientation: int, size: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    header = read_header(picture(30, 20, kind, exif=exif), "image", MAX_PIXELS)
    assert (header.width, header.height) == size


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow's own, on the log
def test_damaged_exif_turns_nothing() -> None:
    header = read_header(picture(30, 20, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"), "image", MAX_PIXELS)
    assert (header.width, header.height) == (30, 20)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (saved("GIF"), "GIF"),
        (saved("TIFF"), "TIFF"),
        (saved("BMP"), "BMP"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "EPS"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"\xef\xbb\xbf <?xml version='1.0'?><svg/>", "SVG"),
        (b"%PDF-1.7", "PDF"),
        (b"PK\x03\x04", "ZIP"),
        (b"hello", "not a picture"),
        (b"", "empty"),
    ],
)
def test_other_kinds_are_refused_by_name(data: bytes, name: str) -> None:
    error = caught(data)
    assert isinstance(error, UnsupportedMedia)
    assert name in error.detail


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_animations_are_refused(kind: str) -> None:
    error = caught(animated(kind))
    assert isinstance(error, InvalidRequest)
    assert "animated" in error.detail


@pytest.mark.parametrize("data", [png_of(60_000, 60_000), webp_of(16_384, 16_384)], ids=["png", "webp"])
def test_a_bomb_is_refused_from_its_header(data: bytes) -> None:
    assert f"at most {MAX_PIXELS}" in caught(data).detail


def test_a_large_jpeg_is_refused_from_its_header() -> None:
    assert "at most 100" in caught(picture(30, 20, "JPEG"), max_pixels=100).detail


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
def test_no_pixels_are_no_picture(size: tuple[int, int]) -> None:
    assert "no pixels" in caught(png_of(*size)).detail


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("length", [12, 16, 20, 26])
def test_a_header_cut_short_is_refused(kind: str, length: int) -> None:
    assert caught(picture(kind=kind)[:length]).status == 422


def test_pixels_cut_short_are_for_imaging_to_find() -> None:
    photo = picture(300, 200, "JPEG")
    assert read_header(photo[:-40], "image", MAX_PIXELS).width == 300


def test_pixels_are_never_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: Any) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    for kind in ("PNG", "JPEG", "WEBP"):
        assert read_header(picture(kind=kind), "image", MAX_PIXELS).width == 96


@pytest.mark.parametrize("text", ["AA A", "A", "AA==AA", "A\tAA", "é" * 4, "data:image/png,AAAA"])
def test_base64_is_strict(text: str) -> None:
    with pytest.raises(InvalidRequest):
        decode_base64(text, "image")


def test_base64_with_and_without_a_data_url() -> None:
    assert decode_base64("AAEC", "image") == decode_base64("data:image/png;base64,AAEC", "image") == b"\0\1\2"


@pytest.mark.parametrize("text", ["+/+/AA==", "-_-_AA==", "-_-_AA", "+/+/\r\nAA==\n", "+/-_AA"])
def test_base64_has_two_alphabets_line_breaks_and_optional_padding(text: str) -> None:
    assert decode_base64(text, "image") == b"\xfb\xff\xbf\0"


def test_a_phones_second_picture_is_no_animation() -> None:
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (30, 20)), Image.new("RGB", (15, 10))]
    frames[0].save(buffer, "MPO", save_all=True, append_images=frames[1:])
    assert read_header(buffer.getvalue(), "image", MAX_PIXELS) == Header(30, 20, ".jpg")
