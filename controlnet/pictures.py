"""Files of pictures -> pixels: one reader for the API, the command line and the trainer.

`read` is for files of one's own. What strangers sent is read by `decode` in a process that holds nothing of value
(`serve.imaging.decoder`), so on import this file loads Pillow and the standard library only.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from PIL import Image, ImageCms, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

if TYPE_CHECKING:
    from controlnet.annotators.annotator import Picture

MAX_PIXELS = 1 << 28
"""Of a file of one's own: more is a mistake, and would fill the memory."""

_KINDS = (  # the classes themselves, not Image.open: no other format can be reached
    (re.compile(rb"\x89PNG\r\n\x1a\n"), PngImageFile),
    (re.compile(rb"\xff\xd8\xff"), JpegImageFile),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), WebPImageFile),
)
_DEEP_GREY = ("I;16", "I;16B", "I;16L")
_UNBOUNDED_GREY = ("I", "F")
_ORIENTATION = 0x0112
_ON_ITS_SIDE = (5, 6, 7, 8)
_TURNS = {  # what undoes each EXIF orientation (EXIF 2.3, table 4)
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class PictureError(ValueError):
    """The file is not a picture that is taken; `kind` says whose error it is, the text says why."""

    def __init__(self, kind: Literal["unsupported", "invalid"], detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


def read(path: str | Path, *, is_map: bool = False) -> Picture:
    """A picture of one's own, in any format that Pillow reads.

    Args:
        path: Of the file.
        is_map: Whether it is a control map, whose levels are taken as they are stored.

    Returns:
        uint8 [H, W, 3], upright, over white where it was not opaque; sRGB unless it is a map.

    Raises:
        ValueError: The file can't be read, or is not a whole picture; the message names it.
    """
    # The platform's process for strangers' files needs neither.
    import numpy as np

    from controlnet.annotators import to_rgb

    try:
        return to_rgb(np.array(decode(Path(path).read_bytes(), MAX_PIXELS, own=True, is_map=is_map)))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from error
    except PictureError as error:
        raise ValueError(f"{path}: {error}") from error


def measure(path: str | Path) -> tuple[int, int]:
    """Width and height of a picture of one's own, upright, from its header.

    Args:
        path: Of the file.

    Raises:
        ValueError: The file can't be read, or is no picture; the message names it.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            return (height, width) if on_its_side(image) else (width, height)
    except UnidentifiedImageError as error:
        raise ValueError(f"{path}: This is not a picture of a known kind.") from error
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from error


def decode(data: bytes, max_pixels: int, *, own: bool = False, is_map: bool = False) -> Image.Image:
    """A file's picture, upright, in sRGB, as `RGB`, or as `RGBA` where some of it is not opaque.

    The levels of a control map are data, not colours: a profile that an image editor left in it does not change them.

    Args:
        data: The file.
        max_pixels: Bound on width x height, checked before pixels are decoded.
        own: Whether any other kind that Pillow reads is taken, too: not for what strangers sent.
        is_map: Whether it is a control map.

    Raises:
        PictureError: It is no PNG, JPEG or WebP, or too large, animated, damaged, cut short, or of grey levels that
            have no white.
    """
    opener = next((kind for magic, kind in _KINDS if magic.match(data)), None)
    if opener is None and not own:
        raise PictureError("unsupported", "This is not a PNG, JPEG or WebP picture.")
    try:
        image: Image.Image = (opener or Image.open)(io.BytesIO(data))
        width, height = image.size
        # A phone's JPEG may hold a second picture (MPO); one that moves is what is refused.
        frames = int(getattr(image, "n_frames", 1))
    except MemoryError:
        raise
    except UnidentifiedImageError:
        raise PictureError("unsupported", "This is not a picture of a known kind.") from None
    except Exception:  # hostile headers make Pillow raise SyntaxError, struct.error, OSError, ValueError ...
        raise PictureError("invalid", "The picture's header is damaged.") from None
    if width < 1 or height < 1:
        raise PictureError("invalid", f"The picture is {width}x{height}: it has no pixels.")
    if width * height > max_pixels:
        raise PictureError(
            "invalid",
            f"The picture is {width}x{height}, {width * height} pixels: at most {max_pixels} are accepted.",
        )
    if frames > 1:
        raise PictureError("invalid", "The picture is animated: send a single frame.")
    if image.mode in _UNBOUNDED_GREY:
        raise PictureError("unsupported", "The picture's grey levels have 32 bits: save it with 8 or 16.")
    turn = _TURNS.get(_orientation(image))
    try:
        image.load()
        upright = _normalise(image, None if is_map else image.info.get("icc_profile"))
    except MemoryError:
        raise
    except Exception:
        raise PictureError("invalid", "The picture could not be decoded: it is damaged or cut short.") from None
    return upright if turn is None else upright.transpose(turn)


def on_its_side(image: Image.Image) -> bool:
    """Whether the EXIF orientation swaps width and height."""
    return _orientation(image) in _ON_ITS_SIDE


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 .. 8. A damaged EXIF block turns nothing."""
    try:
        # The base class's method: that of PNG decodes all pixels in search of a late EXIF chunk, and the api, which
        # chose the size to sample at, did not.
        return int(Image.Image.getexif(image).get(_ORIENTATION, 1))
    except Exception:
        return 1


def _normalise(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Any mode that PNG, JPEG and WebP have -> RGB in sRGB, with its opacity where some of it is not opaque."""
    colour, alpha = _planes(image)
    colour = _to_srgb(colour, profile) if profile else colour.convert("RGB")
    if alpha is not None and alpha.getextrema() != (255, 255):
        colour.putalpha(alpha)
    return colour


def _planes(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """Colour as L, RGB or CMYK of 8 bits, and opacity as L if there is any."""
    if image.mode in _DEEP_GREY:
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
