"""The drawn set, made while the library agrees with the original's own set.

    python -m tests.controlnet.golden.make --original ../shared/golden

Refuses where any output is further from the original's than `TOLERANCE`. Then writes beside this script the layouts of
the original's checkpoints, the tables of the schedule as it stored them, and the outputs of the drawn weights,
computed at float64 and stored as float32, so that every machine is as near to them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.controlnet.golden import draw, layout, sets
from tests.controlnet.golden.networks import Networks

TOLERANCE = 1e-5
"""Of the largest value: how far two computations at float32 may be apart."""


def error(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference over the largest value; infinite between different shapes."""
    if ours.shape != theirs.shape:
        return float("inf")
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def main(original: Path) -> None:
    """Compare, then write."""
    torch.set_num_threads(1)  # small tensors lose more to waking threads than they gain
    theirs = sets.original(original)
    ours = Networks.load(theirs).outputs(theirs.expected)
    errors = {name: error(ours[name], theirs.expected[name]) for name in ours}
    print(f"{len(errors)} outputs of the original; the furthest: {max(errors.values()):.1e} of its largest value")
    if apart := {name: far for name, far in errors.items() if not far < TOLERANCE}:
        sys.exit(f"nothing is written, for the library and the original do not agree: {apart}")

    stored = load_file(theirs.checkpoint)
    full = json.loads((original / "control_sd15.layout.json").read_text())
    layout.write({key: tuple(shape) for key, shape in full.items()}, layout.FULL)
    layout.write({key: tuple(tensor.shape) for key, tensor in stored.items()}, layout.SMALL)
    save_file({key: table for key, table in stored.items() if "." not in key}, sets.HERE / "tables.safetensors")

    spec = json.loads((sets.HERE / "spec.json").read_text())
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = sets.write_checkpoint(Path(folder) / "drawn.safetensors")
        drawn = load_file(checkpoint)
        assert {key: (t.shape, t.dtype) for key, t in drawn.items()} == {
            key: (t.shape, t.dtype) for key, t in stored.items()
        }
        nets = Networks.load(sets.Golden(spec, checkpoint, {}), torch.float64)
    given = {name: value.double() if value.is_floating_point() else value for name, value in draw.inputs(spec).items()}
    outputs = {name: value.float().contiguous() for name, value in nets.outputs(given).items()}
    save_file(outputs, sets.HERE / "outputs.safetensors")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--original", type=Path, required=True, help="has ldm-v15.*, control_sd15.layout.json")
    main(parser.parse_args().original)
