"""Pictures as a caller has them."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Union

if TYPE_CHECKING:
    from PIL.Image import Image

Picture: TypeAlias = Union[str, os.PathLike[str], bytes, "Image"]
"""The path of a PNG, JPEG or WebP file, its bytes, or a picture of Pillow's."""


def encoded(picture: Picture) -> bytes:
    """The bytes of a file; a picture of Pillow's becomes a PNG.

    Raises:
        OSError: The file can't be read.
    """
    if isinstance(picture, bytes):
        return picture
    if isinstance(picture, str | os.PathLike):
        return Path(picture).read_bytes()
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
