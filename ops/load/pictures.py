"""Photographs for callers to send: crops of those that scikit-image brings along."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import skimage
from PIL import Image

SIDE = 256
QUALITY = 90


def write_pictures(folder: Path, count: int, seed: int) -> None:
    """Write `0.jpg` to `<count - 1>.jpg`: square crops, each another one."""
    luck = random.Random(seed)
    photographs = (skimage.data.coins(), skimage.data.coffee(), skimage.data.chelsea(), skimage.data.astronaut())
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        whole = np.asarray(photographs[number % len(photographs)])
        top, left = (luck.randrange(length - SIDE + 1) for length in whole.shape[:2])
        crop = Image.fromarray(whole[top : top + SIDE, left : left + SIDE])
        crop.save(folder / f"{number}.jpg", "JPEG", quality=QUALITY)
