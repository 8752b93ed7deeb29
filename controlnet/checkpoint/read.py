"""Reading the tensors of a file, without ever unpickling in this process."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from controlnet.checkpoint import unpickle
from controlnet.strict import CheckpointError

PICKLED = (".pth", ".ckpt", ".pt", ".bin")


def read_state(file: str | Path, *, timeout_s: float = 900.0) -> dict[str, Tensor]:
    """All tensors of a checkpoint file, on the CPU, with the dtype they are stored in.

    Args:
        file: `.safetensors`, or one of the pickled kinds, which a child process converts first (`unpickle`). The
            child has an empty environment and no import path but the interpreter's; it is not cut off from the
            network, so convert files of strangers where there is none.
        timeout_s: For that child, in seconds.

    Raises:
        CheckpointError: No such file, a kind that isn't taken, a damaged file, or a pickle that holds more than
            tensors and plain containers.
    """
    file = Path(file)
    if not file.is_file():
        raise CheckpointError(f"{file} is not a file.")
    if file.suffix not in (".safetensors", *PICKLED):
        raise CheckpointError(f"{file} is none of .safetensors, {', '.join(PICKLED)}.")
    _refuse_disguised(file)
    if file.suffix == ".safetensors":
        return _load(file, str(file))
    with tempfile.TemporaryDirectory(prefix="unpickle-") as scratch:
        converted = Path(scratch) / "out.safetensors"
        try:
            # By path and isolated (-I): no import from the working directory, from PYTHONPATH, or of this package.
            done = subprocess.run(
                [sys.executable, "-I", unpickle.__file__, str(file.resolve()), str(converted)],
                capture_output=True,
                text=True,
                timeout=timeout_s,
                env={"TMPDIR": scratch},
                cwd=scratch,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise CheckpointError(f"{file} could not be unpickled within {timeout_s:g} s.") from error
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
            raise CheckpointError(f"{file} can't be unpickled safely: {reason}")
        # The tensors are mapped, and stay so when the folder is gone.
        return _load(converted, str(file))


def _refuse_disguised(file: Path) -> None:
    """Raise where the first bytes are those of another kind of file than the name says."""
    with file.open("rb") as opened:
        head = opened.read(64)
    if not head:
        what = "is empty"
    elif head.startswith(b"version https://git-lfs"):
        what = "is a pointer of Git LFS, not the weights: fetch them by `git lfs pull`"
    elif head.lstrip().startswith(b"<"):
        what = "is a web page, not weights: look at what the download answered"
    elif file.suffix == ".safetensors" and head.startswith((b"PK", b"\x80\x02")):
        what = "is a pickle by its content: call it .ckpt"
    elif file.suffix != ".safetensors" and head[8:9] == b"{":  # after the length of safetensors' header
        what = "is safetensors by its content: call it .safetensors"
    else:
        return
    raise CheckpointError(f"{file} {what}.")


def _load(file: Path, name: str) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except SafetensorError as error:
        raise CheckpointError(f"{name} is not a sound safetensors file: {error}.") from error
