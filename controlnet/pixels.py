"""Pictures as bytes and as tensors."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Bytes = npt.NDArray[np.uint8]
"""RGB, [H, W, 3]: an annotator's `Picture`, where annotators and their OpenCV are not needed."""


def to_tensor(image: Bytes) -> Tensor:
    """Turn [H, W, 3] bytes into [3, H, W] in [-1, 1]."""
    # A copy, because pictures of a rendered set are read only and mirrored ones run backwards.
    return torch.from_numpy(image.copy()).permute(2, 0, 1).float() / 127.5 - 1


def to_hint(control_map: Bytes) -> Tensor:
    """Turn [H, W, 3] bytes into [3, H, W] in [0, 1].

    By NumPy: torch would give the thread that calls it a pool of threads.
    """
    return torch.from_numpy(np.ascontiguousarray(control_map.transpose(2, 0, 1)).astype(np.float32) / np.float32(255))


def to_bytes(images: Tensor) -> list[Bytes]:
    """Turn [B, 3, H, W] in [-1, 1] into pictures [H, W, 3]."""
    levels = (images.float().clamp(-1, 1) * 127.5 + 127.5).round().to(torch.uint8)
    return list(levels.permute(0, 2, 3, 1).contiguous().cpu().numpy())


def tile(pictures: Sequence[Bytes], columns: int) -> Bytes:
    """Lay [H, W, 3] pictures out in rows of `columns`; what is missing in the last row is black."""
    blank = np.zeros_like(pictures[0])
    padded = [*pictures, *[blank] * (-len(pictures) % columns)]
    rows = [np.concatenate(padded[i : i + columns], axis=1) for i in range(0, len(padded), columns)]
    return np.concatenate(rows, axis=0)
