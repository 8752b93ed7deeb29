"""Turn one pickled checkpoint into safetensors: `python -m controlnet.checkpoint.unpickle in.ckpt out.safetensors`.

Meant to run as a process of its own, which `controlnet.checkpoint.read` starts: whatever a hostile pickle does to it,
the caller only ever reads the safetensors it leaves. It imports nothing of this package, so that the caller can run it
isolated, by its path.

`weights_only` refuses every pickle that asks for more than tensors and plain containers. A few harmless references are
let through: checkpoints of old PyTorch Lightning, those of Stable Diffusion 1.x among them, name their ModelCheckpoint
class as a dictionary's key, and keep its best score as a NumPy scalar. They become empty objects here; nothing of
Lightning or NumPy is called.
"""

from __future__ import annotations

import re
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

INERT = (
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "_codecs.encode",
)


class Inert:
    """Stands in for what a checkpoint names and we have no use for."""

    def __init__(self, *arguments: object) -> None:
        """Take what the original would have taken."""

    def __setstate__(self, state: object) -> None:
        """Likewise."""


def load(file: Path) -> dict[str, Tensor]:
    """Read a pickled state dict, out of any `state_dict` entries it is wrapped in.

    Raises:
        pickle.UnpicklingError: The pickle asks for more than `weights_only` allows.
        ValueError: What it holds isn't a state dict.
    """
    with torch.serialization.safe_globals([(Inert, name) for name in INERT]):
        # Only the zip format (torch >= 1.6) can be mapped; reading the older one takes memory.
        held: Any = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    while isinstance(held, Mapping) and isinstance(held.get("state_dict"), Mapping):
        held = held["state_dict"]
    if not isinstance(held, Mapping) or not held:
        raise ValueError(f"it holds a {type(held).__name__}, no state dict")
    strangers = [str(key) for key, value in held.items() if not (isinstance(key, str) and isinstance(value, Tensor))]
    if strangers:
        raise ValueError(f"{len(strangers)} entries are not tensors: {', '.join(sorted(strangers))}")
    return _separate(held)


def _separate(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give each tensor memory of its own where it shares: safetensors has no aliases."""
    seen: set[int] = set()
    separate = {}
    for key, tensor in state.items():
        if tensor.layout != torch.strided:
            raise ValueError(f"{key} is a {tensor.layout} tensor")
        plain = tensor.detach().contiguous()
        address = plain.untyped_storage().data_ptr()
        separate[key] = plain.clone() if address in seen else plain
        seen.add(address)
    return separate


def main(arguments: list[str]) -> int:
    """Convert; the one line on stderr says what went wrong."""
    if len(arguments) != 2:
        print("usage: python -m controlnet.checkpoint.unpickle IN.ckpt OUT.safetensors", file=sys.stderr)
        return 2
    source, target = map(Path, arguments)
    try:
        save_file(load(source), target, metadata={"format": "pt"})
    except Exception as error:
        print(f"{type(error).__name__}: {_reason(str(error))}", file=sys.stderr)
        return 1
    return 0


def _reason(text: str) -> str:
    """Why, in one line: torch's own text advises turning the protection off."""
    asked = re.search(r"GLOBAL ([\w.]+)", text)
    if asked:
        return f"it asks for {asked[1]}, which is neither a tensor nor a plain container"
    if "weights_only" in text:
        told = re.search(r"WeightsUnpickler error: ([^\n]+)", text)
        return told[1] if told else "it is damaged, or no pickle of torch's"
    return text.strip().partition("\n")[0] or "no reason given"


if __name__ == "__main__":
    if sys.platform != "win32":
        import resource  # here, because the parent imports this file too, on systems that have none

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash leaves no gigabytes behind
    raise SystemExit(main(sys.argv[1:]))
