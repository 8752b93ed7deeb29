"""A job's archive on the disk."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path


def unpack(archive: bytes, folder: str | os.PathLike[str]) -> list[Path]:
    """Write what a job's archive holds below `folder`, which is made where it is not there.

    Returns:
        The files, in the archive's order: images, control maps, `manifest.json`.

    Raises:
        zipfile.BadZipFile: It is damaged; nothing was written.
    """
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        if (damaged := opened.testzip()) is not None:
            raise zipfile.BadZipFile(f"{damaged} is damaged")
        return [Path(opened.extract(info, folder)) for info in opened.infolist()]  # stays below, whatever its name
