"""Golden sets: a small checkpoint in the original's layout, and what was computed from it.

The original's own set is what its code computed from random weights. It is 14 MB, and not in this repository. The drawn
set has the same keys; its weights are drawn by their names (`draw`), and its outputs are this library's, computed while
the library agreed with the original's own set (`make`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.controlnet.golden import draw, layout

HERE = Path(__file__).parent
ORIGINAL = HERE.parents[3] / "shared/golden"
POSITIONS = "cond_stage_model.transformer.text_model.embeddings.position_ids"


@dataclass(frozen=True)
class Golden:
    """A golden set.

    Attributes:
        spec: Sizes of the networks, and settings of the runs.
        checkpoint: The weights in one file, as the original stores them.
        expected: Inputs and outputs by name, float32.
    """

    spec: Mapping[str, Any]
    checkpoint: Path
    expected: Mapping[str, Tensor]


def original(folder: Path) -> Golden:
    """The original's own set.

    Raises:
        FileNotFoundError: It is not in the folder.
    """
    spec, weights, outputs = (
        folder / f"ldm-v15.{end}" for end in ("json", "weights.safetensors", "outputs.safetensors")
    )
    return Golden(json.loads(spec.read_text()), weights, load_file(outputs))


def drawn(folder: Path) -> Golden:
    """The drawn set.

    Args:
        folder: Where its checkpoint is written.
    """
    spec = json.loads((HERE / "spec.json").read_text())
    checkpoint = write_checkpoint(folder / "drawn.safetensors")
    return Golden(spec, checkpoint, draw.inputs(spec) | load_file(HERE / "outputs.safetensors"))


def write_checkpoint(file: Path) -> Path:
    """Write the drawn weights as float16, with the original's tables of the schedule as float32."""
    shapes = layout.read(layout.SMALL)
    constants = load_file(HERE / "tables.safetensors") | {POSITIONS: torch.arange(shapes[POSITIONS][-1])[None]}
    save_file(constants | {key: draw.weight(key, shapes[key]) for key in shapes.keys() - constants.keys()}, file)
    return file
