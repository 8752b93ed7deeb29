"""What a file of a picture becomes, and which files are refused."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from controlnet.pictures import PictureError, decode, measure, read
from tests.pictures import (
    RAMP,
    Pixels,
    animated,
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

MAX_PIXELS = 1_000_000
QUIET = pytest.mark.filterwarnings("ignore")  # as `main` does in the child
LOSSLESS = {"lossless": True, "exact": True}


def pixels(data: bytes) -> Pixels:
    image = decode(data, MAX_PIXELS)
    assert image.mode in ("RGB", "RGBA")
    return np.asarray(image)


def refused(data: bytes, max_pixels: int = MAX_PIXELS) -> PictureError:
    with pytest.raises(PictureError) as caught:
        decode(data, max_pixels)
    return caught.value


def near(found: Pixels, expected: object, levels: int) -> bool:
    return bool((np.abs(found.astype(int) - np.asarray(expected)) <= levels).all())


# What is taken, and how it is normalised.


def test_png_and_lossless_webp_are_exact() -> None:
    assert np.array_equal(pixels(saved(RAMP)), RAMP)
    assert np.array_equal(pixels(saved(RAMP, "WEBP", **LOSSLESS)), RAMP)


def test_jpeg_is_what_its_encoder_meant() -> None:
    flat = np.full((20, 30, 3), (200, 90, 30), np.uint8)
    assert near(pixels(saved(flat, "JPEG", quality=95)), flat, 2)


def test_one_pixel() -> None:
    assert pixels(saved(RAMP[:1, :1])).shape == (1, 1, 3)


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_grey_of_few_bits_spans_black_to_white(depth: int) -> None:
    per_byte = 8 // depth
    made = pixels(png(per_byte * 2, 1, depth, 0, b"\x00\xff"))
    assert np.array_equal(made[0, :, 0], [0] * per_byte + [255] * per_byte)
    assert (made == made[:, :, :1]).all()


def test_grey_of_16_bits_is_scaled_to_the_nearest_of_8() -> None:
    levels = np.array([[0, 257, 128, 129, 65535, 65406]], ">u2")
    assert pixels(png(6, 1, 16, 0, levels.tobytes()))[0, :, 0].tolist() == [0, 1, 0, 1, 255, 254]


def test_colour_of_16_bits() -> None:
    assert np.array_equal(pixels(png(16, 12, 16, 2, (RAMP.astype(">u2") * 257).tobytes())), RAMP)


def test_colour_and_opacity_of_16_bits() -> None:
    wide = np.dstack([RAMP, RAMP[:, :, 0]]).astype(">u2") * 257
    assert np.array_equal(pixels(png(16, 12, 16, 6, wide.tobytes())), wide // 257)


def test_grey_with_opacity_keeps_both() -> None:
    grey = np.dstack([RAMP[:, :, 0], RAMP[:, :, 1]])
    made = pixels(saved(Image.fromarray(grey, "LA")))
    assert np.array_equal(made, np.dstack([grey[:, :, 0]] * 3 + [grey[:, :, 1]]))


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_opacity_is_kept_where_there_is_any(kind: str) -> None:
    colour = np.dstack([RAMP, RAMP[:, :, 0]])
    assert np.array_equal(pixels(saved(colour, kind, **(LOSSLESS if kind == "WEBP" else {}))), colour)


def test_opacity_that_is_full_everywhere_is_dropped() -> None:
    opaque = np.dstack([RAMP, np.full((12, 16), 255, np.uint8)])
    assert np.array_equal(pixels(saved(opaque)), RAMP)


def test_palette() -> None:
    image = Image.fromarray(np.array([[0, 1], [2, 3]], np.uint8), "P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 8, 7])
    assert pixels(saved(image)).tolist() == [[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [9, 8, 7]]]


@pytest.mark.parametrize("transparency", [1, b"\xff\x00"], ids=["one index", "a table"])
def test_palette_with_transparency(transparency: int | bytes) -> None:
    image = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    image.putpalette([255, 0, 0, 0, 255, 0])
    assert pixels(saved(image, transparency=transparency)).tolist() == [[[255, 0, 0, 255], [0, 255, 0, 0]]]


def test_a_grey_level_that_stands_for_nothing() -> None:
    made = pixels(png(2, 1, 8, 0, b"\x07\x08", chunk(b"tRNS", b"\x00\x08")))
    assert made[0].tolist() == [[7, 7, 7, 255], [8, 8, 8, 0]]


def test_a_grey_level_of_16_bits_that_stands_for_nothing() -> None:
    made = pixels(png(2, 1, 16, 0, b"\x08\x00\x08\x01", chunk(b"tRNS", b"\x08\x01")))
    assert made[0, :, 3].tolist() == [255, 0]


def test_a_colour_that_stands_for_nothing() -> None:
    made = pixels(png(2, 1, 8, 2, b"\x01\x02\x03\x04\x05\x06", chunk(b"tRNS", b"\0\x04\0\x05\0\x06")))
    assert made[0].tolist() == [[1, 2, 3, 255], [4, 5, 6, 0]]


def test_cmyk() -> None:
    inks = np.full((16, 16, 4), (0, 255, 255, 0), np.uint8)
    assert near(pixels(saved(Image.fromarray(inks, "CMYK"), "JPEG", quality=95)), (255, 0, 0), 4)


def test_ycck_is_not_taken_for_cmyk() -> None:
    """Adobe's marker says which of the two four planes are; Photoshop inverts both (T.872, section 6.5.3)."""
    luma, blue, red = 120, 90, 180
    planes = np.full((16, 16, 4), (255 - luma, 255 - blue, 255 - red, 0), np.uint8)
    data = saved(Image.fromarray(planes, "CMYK"), "JPEG", quality=100)
    marker = data.index(b"Adobe")
    data = data[: marker + 11] + b"\x02" + data[marker + 12 :]
    r = luma + 1.402 * (red - 128)
    g = luma - 0.344136 * (blue - 128) - 0.714136 * (red - 128)
    b = luma + 1.772 * (blue - 128)
    assert near(pixels(data), [255 - round(value) for value in (r, g, b)], 3)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, RAMP),
        (2, RAMP[:, ::-1]),
        (3, RAMP[::-1, ::-1]),
        (4, RAMP[::-1]),
        (5, RAMP.transpose(1, 0, 2)),
        (6, np.rot90(RAMP, -1)),
        (7, RAMP[::-1, ::-1].transpose(1, 0, 2)),
        (8, np.rot90(RAMP, 1)),
        (0, RAMP),
        (9, RAMP),
    ],
)
def test_the_exif_orientation_is_undone(kind: str, orientation: int, upright: Pixels) -> None:
    data = saved(RAMP, kind, exif=exif(orientation), **(LOSSLESS if kind == "WEBP" else {}))
    assert np.array_equal(pixels(data), upright)


def test_a_phones_photograph_stands_upright() -> None:
    photo = np.zeros((16, 32, 3), np.uint8)
    photo[:, :16] = 255  # turned clockwise by a quarter, its left half is on top
    made = pixels(saved(photo, "JPEG", exif=exif(6)))
    assert made.shape == (32, 16, 3)
    assert made[:14].min() > 250
    assert made[18:].max() < 5


@QUIET
def test_damaged_exif_turns_nothing() -> None:
    assert pixels(saved(RAMP, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")).shape == RAMP.shape


def test_an_embedded_profile_is_applied() -> None:
    red = np.full((4, 4, 3), (255, 0, 0), np.uint8)
    assert near(pixels(saved(red, icc_profile=swapped_profile())), (0, 255, 0), 2)


def test_a_profile_leaves_opacity_alone() -> None:
    faint = np.full((4, 4, 4), (255, 0, 0, 77), np.uint8)
    assert near(pixels(saved(faint, icc_profile=swapped_profile())), (0, 255, 0, 77), 2)


def test_a_palette_has_its_profile_applied_to_its_colours() -> None:
    image = Image.new("P", (4, 4))
    image.putpalette([255, 0, 0])
    assert near(pixels(saved(image, icc_profile=swapped_profile())), (0, 255, 0), 2)


def test_a_maps_levels_are_taken_as_they_are_stored(tmp_path: Path) -> None:
    (tmp_path / "depth.png").write_bytes(saved(Image.new("L", (4, 4), 128), icc_profile=linear_grey_profile()))
    assert np.unique(read(tmp_path / "depth.png", is_map=True)).tolist() == [128]


def test_a_grey_profile_is_applied() -> None:
    half = np.full((4, 4), 128, np.uint8)
    assert near(pixels(saved(half, icc_profile=linear_grey_profile())), 188, 2)  # of linear light, in sRGB


def test_a_profile_called_srgb_changes_nothing() -> None:
    assert np.array_equal(pixels(saved(RAMP, icc_profile=swapped_profile(b"sRGB IEC61966-2.1"))), RAMP)


@pytest.mark.parametrize(
    "profile", [b"nonsense", swapped_profile()[:200], b"\0" * 128], ids=["no profile", "cut short", "zeros"]
)
def test_a_broken_profile_is_ignored(profile: bytes) -> None:
    assert np.array_equal(pixels(saved(RAMP, icc_profile=profile)), RAMP)


def test_a_profile_for_another_mode_is_ignored() -> None:
    grey = RAMP[:, :, 0]
    assert np.array_equal(pixels(saved(grey, icc_profile=swapped_profile()))[:, :, 1], grey)
    inks = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    assert near(pixels(saved(inks, "JPEG", quality=95, icc_profile=swapped_profile())), (255, 0, 0), 4)


def test_the_first_picture_of_a_phones_two_is_taken() -> None:
    second = Image.new("RGB", (16, 12))
    both = saved(Image.fromarray(RAMP), "MPO", save_all=True, append_images=[second], quality=100, subsampling=0)
    assert Image.open(io.BytesIO(both)).format == "MPO"
    assert np.array_equal(pixels(both), pixels(saved(RAMP, "JPEG", quality=100, subsampling=0)))


@pytest.mark.parametrize("tail", [b"PK\x03\x04 a ZIP", b"<script>alert(1)</script>"])
def test_what_follows_a_picture_is_not_looked_at(tail: bytes) -> None:
    assert np.array_equal(pixels(saved(RAMP) + tail), RAMP)


# What is refused.


@pytest.mark.parametrize(
    "data",
    [
        *(pytest.param(saved(RAMP, kind), id=kind) for kind in ("GIF", "TIFF", "BMP", "PPM", "ICO", "JPEG2000", "TGA")),
        pytest.param(saved(RAMP, "EPS"), id="EPS"),
        pytest.param(saved(RAMP, "PDF"), id="PDF"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", id="SVG"),
        pytest.param(b"", id="empty"),
        pytest.param(b"\x89", id="one byte"),
        pytest.param(b"GIF89a" + saved(RAMP), id="PNG in a GIF's clothes"),
        pytest.param(b"<html>" + saved(RAMP, "JPEG"), id="JPEG behind HTML"),
        pytest.param(b"RIFF\0\0\0\0WAVE" + saved(RAMP, "WEBP"), id="RIFF, not WebP"),
    ],
)
def test_other_kinds_are_unsupported(data: bytes) -> None:
    assert refused(data).kind == "unsupported"


@pytest.mark.parametrize(
    "data", [png_header(60_000, 60_000), webp_header(16_384, 16_384), jpeg_of_size(65_000, 65_000)]
)
def test_a_bomb_is_refused_from_its_header(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: ImageFile.ImageFile) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    error = refused(data)
    assert error.kind == "invalid"
    # libwebp refuses to open this canvas without pixels, which is as well.
    assert f"at most {MAX_PIXELS}" in error.detail or "header is damaged" in error.detail


def test_the_bound_on_pixels_is_inclusive() -> None:
    assert decode(saved(RAMP), RAMP.shape[0] * RAMP.shape[1]).size == (16, 12)
    assert "16x12, 192 pixels: at most 191" in refused(saved(RAMP), 191).detail


@pytest.mark.parametrize("size", [(0, 5), (5, 0)])
def test_no_pixels_are_no_picture(size: tuple[int, int]) -> None:
    assert refused(png_header(*size)).kind == "invalid"


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_animations_are_refused(kind: str) -> None:
    assert "animated" in refused(animated(kind)).detail


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_wherever_a_file_is_cut_it_is_refused_or_whole(kind: str) -> None:
    data = saved(RAMP, kind)
    whole = pixels(data)
    refusals = 0
    for length in range(len(data)):
        try:
            assert np.array_equal(pixels(data[:length]), whole)  # only what comes after the pixels was cut off
        except PictureError:
            refusals += 1
    assert refusals > 0.8 * len(data)


def test_a_photograph_cut_in_half_is_refused() -> None:
    rng = np.random.default_rng(0)
    data = saved(rng.integers(0, 256, (300, 400, 3), np.uint8), "JPEG", progressive=True)
    assert "cut short" in refused(data[: len(data) // 2]).detail


@QUIET
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_damage_anywhere_is_refused_or_a_picture(kind: str) -> None:
    """Whatever Pillow raises, only `PictureError` comes out."""
    rng = np.random.default_rng(1)
    whole = np.frombuffer(saved(RAMP, kind, exif=exif(6)), np.uint8)
    refusals = 0
    for _ in range(60):
        damaged = whole.copy()
        damaged[rng.integers(0, whole.size, 3)] = rng.integers(0, 256, 3)
        try:
            assert decode(damaged.tobytes(), MAX_PIXELS).mode in ("RGB", "RGBA")
        except PictureError:
            refusals += 1
    assert refusals > 0


@QUIET
def test_damage_anywhere_in_a_profile_leaves_a_picture() -> None:
    rng = np.random.default_rng(2)
    whole = np.frombuffer(swapped_profile(), np.uint8)
    for _ in range(20):
        damaged = whole.copy()
        damaged[rng.integers(0, whole.size, 3)] = rng.integers(0, 256, 3)
        assert pixels(saved(RAMP, icc_profile=damaged.tobytes())).shape == RAMP.shape


def test_a_profile_that_inflates_without_end_is_refused() -> None:
    bomb = chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(1 << 23), 9))
    assert refused(png(16, 12, 8, 2, RAMP.tobytes(), bomb)).kind == "invalid"


# Files of one's own.


def written(folder: Path, data: bytes) -> Path:
    path = folder / "picture"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_any_kind_of_ones_own_is_read(kind: str, tmp_path: Path) -> None:
    assert np.array_equal(read(written(tmp_path, saved(RAMP, kind))), RAMP)


def test_a_ramp_of_16_bits_is_a_ramp_of_8(tmp_path: Path) -> None:
    levels = np.arange(256, dtype=">u2")[None] * 257
    for data in (png(256, 1, 16, 0, levels.tobytes()), saved(Image.fromarray(levels.astype("<u2")), "TIFF")):
        assert read(written(tmp_path, data))[0, :, 1].tolist() == list(range(256))


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_grey_levels_without_a_white_are_refused(kind: type, tmp_path: Path) -> None:
    path = written(tmp_path, saved(Image.fromarray(np.zeros((4, 4), kind)), "TIFF"))
    with pytest.raises(ValueError, match="picture: The picture's grey levels have 32 bits: save it with 8 or 16"):
        read(path)


def test_what_is_not_opaque_lies_over_white(tmp_path: Path) -> None:
    clear = np.zeros((4, 4, 4), np.uint8)
    assert (read(written(tmp_path, saved(clear))) == 255).all()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"<html>", "not a picture of a known kind"),
        (saved(RAMP, "JPEG")[:300], "damaged"),
        (saved(RAMP)[:-40], "damaged or cut short"),
    ],
)
def test_a_file_that_can_not_be_read_is_named(data: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"{tmp_path}/picture: .*{message}"):
        read(written(tmp_path, data))


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    for look in (read, measure):
        with pytest.raises(ValueError, match=rf"{tmp_path}/none: No such file"):
            look(tmp_path / "none")


@pytest.mark.parametrize("orientation", range(10))
def test_it_is_measured_upright(orientation: int, tmp_path: Path) -> None:
    path = written(tmp_path, saved(RAMP, exif=exif(orientation)))
    assert measure(path) == read(path).shape[1::-1]


def test_only_a_picture_is_measured(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a picture of a known kind"):
        measure(written(tmp_path, b"<html>"))
