"""Turn one pickled checkpoint into safetensors: `python -m controlnet.checkpoint.unpickle in.ckpt out.safetensors`.

Meant to run as a process of its own, which `controlnet.checkpoint.read` starts: whatever a hostile pickle does to it,
the caller only ever reads the safetensors it leaves. It imports nothing of this package, so that the caller can run it
isolated, by its path.

`weights_only` refuses every pickle that asks for more than tensors and plain containers. One harmless reference is let
through: checkpoints of old PyTorch Lightning, those of Stable Diffusion 1.x among them, name their ModelCheckpoint
class as a dictionary's key. It becomes an empty class here; nothing of Lightning is imported.
"""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

LIGHTNING_CALLBACK = "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint"


class Inert:
    """Stands in for a class that a checkpoint names and we have no use for."""


def load(file: Path) -> dict[str, Tensor]:
    """Read a pickled state dict, out of any `state_dict` entries it is wrapped in.

    Raises:
        pickle.UnpicklingError: The pickle asks for more than `weights_only` allows.
        ValueError: What it holds isn't a state dict.
    """
    with torch.serialization.safe_globals([(Inert, LIGHTNING_CALLBACK)]):
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
        # Torch's own text goes on to advise turning the protection off: its first line is what matters.
        reason = str(error).strip().partition("\n")[0] or "no reason given"
        print(f"{type(error).__name__}: {reason}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    if sys.platform != "win32":
        import resource  # here, because the parent imports this file too, on systems that have none

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash leaves no gigabytes behind
    raise SystemExit(main(sys.argv[1:]))
