from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from serve.client.archive import unpack


def archive(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for name, data in files.items():
            opened.writestr(name, data)
    return buffer.getvalue()


def test_files_are_written_below_the_folder(tmp_path: Path) -> None:
    files = unpack(archive(**{"image_0.png": b"i", "control/canny.png": b"c"}), tmp_path / "new")
    assert files == [tmp_path / "new/image_0.png", tmp_path / "new/control/canny.png"]
    assert [file.read_bytes() for file in files] == [b"i", b"c"]


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    (file,) = unpack(archive(**{name: b"x"}), tmp_path / "in")
    assert file.resolve().is_relative_to(tmp_path / "in")


def test_of_a_damaged_archive_nothing_is_written(tmp_path: Path) -> None:
    data = archive(**{"image_0.png": b"first", "image_1.png": b"second"})
    with pytest.raises(zipfile.BadZipFile, match=r"image_1\.png is damaged"):
        unpack(data.replace(b"second", b"secomd", 1), tmp_path)
    assert list(tmp_path.iterdir()) == []
