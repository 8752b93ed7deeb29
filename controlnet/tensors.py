"""Writing tensors to a safetensors file."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor


def write_tensors(state: Mapping[str, Tensor], file: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file that whoever may read a new file of this process may read: safetensors' own are 0600.

    Args:
        state: Tensors by name, contiguous, on the CPU.
        file: Is replaced where it is there, once the new one is whole; its folder is there.
        metadata: Texts for the file's header.

    Raises:
        OSError: It can't be written; what was there before is there still.
    """
    new = not file.exists()
    file.touch()  # and no more: tensors may be mapped from what is there, which is replaced as a whole
    mode = stat.S_IMODE(file.stat().st_mode)
    try:
        save_file(dict(state), file, metadata={"format": "pt", **(metadata or {})})
        file.chmod(mode)
    except BaseException as error:
        if new:
            file.unlink(missing_ok=True)
        if isinstance(error, SafetensorError):
            raise OSError(f"{file} can't be written: {error}") from error
        raise
