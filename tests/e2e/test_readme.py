"""The README's lines as they stand, but for the address: their pictures follow the photograph."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.e2e.conftest import Running
from tests.readme import block, follows_coins, save_coins

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

FOLLOWS = 0.5


@pytest.fixture
def here(platform: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the photograph, where `data` is the platform's."""
    save_coins(tmp_path)
    (tmp_path / "data").symlink_to(platform.environment["CN_DATA_DIR"])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_first_request_follows_the_coins(platform: Running, here: Path) -> None:
    lines = block("sh", "curl -s").replace("http://127.0.0.1:8000", platform.rig.url)
    subprocess.run(["bash", "-ec", lines.replace(".venv/bin/python", sys.executable)], check=True)
    assert follows_coins(np.asarray(Image.open(here / "picture.png"))) > FOLLOWS


def test_each_picture_of_the_client_follows_the_coins(platform: Running, here: Path) -> None:
    lines = block("python", "client.annotate").replace("http://127.0.0.1:8000", platform.rig.url)
    subprocess.run([sys.executable, "-c", lines], check=True)
    pictures = [np.asarray(Image.open(file)) for file in sorted((here / "pictures").glob("image_*.png"))]
    assert len(pictures) == 4
    assert min(follows_coins(picture) for picture in pictures) > FOLLOWS
