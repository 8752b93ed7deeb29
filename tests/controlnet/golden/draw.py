"""Numbers that follow from a name: the same on every machine and with every version of every library.

They are SHAKE-128's output (FIPS 202), so they need not be stored. Arithmetic alone makes weights and pictures of them.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

# What begins a residual stream or is added to one: in UNet and ControlNet, in the VAE, in the text encoder.
STREAM = (
    *("input_blocks.0.0", "input_hint_block.14", "out_layers.3", "proj_out", "to_out.0", "ff.net.2"),
    *("conv_in", "conv2"),
    *("token_embedding", "position_embedding", "out_proj", "fc2"),
)


def uniform(name: str, shape: tuple[int, ...]) -> Tensor:
    """Numbers in [-1, 1), float64, of a shape."""
    digest = hashlib.shake_128(name.encode()).digest(4 * math.prod(shape))
    return torch.from_numpy(np.frombuffer(digest, "<u4") / 2**31 - 1).reshape(shape)


def weight(key: str, shape: tuple[int, ...]) -> Tensor:
    """A parameter of a checkpoint, float16; by its scale a signal neither dies out nor grows beyond measure.

    Zero convolutions are drawn as others are, or a ControlNet that is not connected would not show. What is added to a
    residual stream is a tenth of what it would be: a norm's epsilon does not show in features of variance 1.
    """
    drawn = math.sqrt(3) * uniform(key, shape)  # of unit variance
    if len(shape) > 1:
        drawn *= 0.9 / math.sqrt(math.prod(shape[1:]))
    elif key.endswith(".weight"):
        drawn = 1 + 0.1 * drawn  # a norm's
    else:
        drawn *= 0.05
    return (0.1 * drawn if key.rpartition(".")[0].endswith(STREAM) else drawn).half()


def inputs(spec: Mapping[str, Any]) -> dict[str, Tensor]:
    """What networks are given: `x` [B,4,H/8,W/8], `hint` and `image_in` [B,3,H,W], `t` [B], `ids` and `uids` [B,77]."""
    rows, (height, width), text = len(spec["t"]), spec["shape"], spec["text"]
    ids = {name: uniform(name, (rows, text["max_position_embeddings"])) for name in ("ids", "uids")}
    return {
        "x": math.sqrt(3) * uniform("x", (rows, 4, height // 8, width // 8)).float(),
        "t": torch.tensor(spec["t"]),
        "hint": (uniform("hint", (rows, 3, height, width)).float() + 1) / 2,
        "image_in": uniform("image_in", (rows, 3, height, width)).float(),
        **{name: ((drawn + 1) / 2 * text["vocab_size"]).long() for name, drawn in ids.items()},
    }
