"""What a finished stage leaves in its folder: its weights and, as JSON, the numbers and measurements."""

import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import FiniteFloat, JsonValue, TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from controlnet.architecture import Architecture
from controlnet.checkpoint import original
from controlnet.tensors import write_tensors

WEIGHTS, SUMMARY = "weights.safetensors", "summary.json"
RECORD = "training"
"""Key of a weights file's metadata under which `Summary.record` and the metrics lie, as JSON."""


@dataclass(frozen=True)
class Summary:
    """How a stage ended.

    Attributes:
        architecture: all numbers of the model; the stage `vae` measures its scale factor.
        steps: optimizer steps.
        seconds: of training, grids included.
        metrics: measured at the end.
        origin: digest of the bundle whose weights the stage started from; empty where it started from nothing.
        record: what a bundle tells of the training: its settings, its data's digest, the base that it was done on.
    """

    architecture: Architecture
    steps: int
    seconds: float
    metrics: dict[str, float]
    origin: str = ""
    record: dict[str, JsonValue] = field(default_factory=dict)


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Write a file whole or not at all: what the block writes at the path that it is given becomes the file at its end.

    A process that is killed, or a disk that is full, leaves the file as it was.
    """
    part = file.with_name(file.name + ".part")
    yield part
    with part.open("rb") as stream:
        os.fsync(stream.fileno())
    part.chmod(0o644)  # safetensors makes it private
    part.replace(file)


def load_saved(file: Path, *, mmap: bool = False) -> dict[str, Any]:
    """Load what `torch.save` wrote, onto the CPU.

    Args:
        file: what to load.
        mmap: whether tensors stay in the file until they are used.

    Raises:
        ValueError: the file is cut short or damaged.
    """
    if not zipfile.is_zipfile(file):  # the listing of a zip file is at its end
        raise ValueError(f"{file} is cut short or damaged")
    try:
        saved: dict[str, Any] = torch.load(file, map_location="cpu", mmap=mmap, weights_only=True)
    except RuntimeError as error:
        raise ValueError(f"{file} is cut short or damaged") from error
    return saved


def parse_architecture(numbers: object) -> Architecture:
    """Read an architecture from plain JSON or YAML data; missing numbers are those of Stable Diffusion 1.5."""
    return TypeAdapter(Architecture).validate_python(numbers)


def write_stage(folder: Path, parts: Mapping[str, Mapping[str, Tensor]], summary: Summary) -> None:
    """Write state dicts by part under the original's names, which `controlnet import` knows, and the summary."""
    folder.mkdir(parents=True, exist_ok=True)
    states = original.merge(parts)
    metadata = {RECORD: json.dumps({"record": summary.record, "metrics": summary.metrics})}
    with replacing(folder / WEIGHTS) as part_of:
        write_tensors({key: tensor.detach().cpu().contiguous() for key, tensor in states.items()}, part_of, metadata)
    with replacing(folder / SUMMARY) as part_of:
        part_of.write_text(json.dumps(asdict(summary), indent=2) + "\n")


def read_summary(folder: Path) -> Summary:
    """Read how a stage ended.

    Raises:
        FileNotFoundError: says which stage has to be trained first.
    """
    file = folder / SUMMARY
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing: train stage={folder.name} first")
    data = json.loads(file.read_text())
    return Summary(**data | {"architecture": parse_architecture(data["architecture"])})


def read_record(file: Path) -> tuple[dict[str, JsonValue], dict[str, float]]:
    """What a stage's weights file tells of its training: `Summary.record` and metrics. Empty for other files."""
    if file.suffix != ".safetensors" or not file.is_file():
        return {}, {}
    try:
        with safe_open(file, "pt") as stream:
            told = json.loads((stream.metadata() or {})[RECORD])
        return (
            TypeAdapter(dict[str, JsonValue]).validate_python(told["record"]),
            TypeAdapter(dict[str, FiniteFloat]).validate_python(told["metrics"]),
        )
    except (SafetensorError, LookupError, TypeError, ValueError):  # whoever reads the weights says what is wrong
        return {}, {}


def read_weights(folder: Path, part: str) -> dict[str, Tensor]:
    """Read the state dict of one part (`vae`, `unet`, `text`, `control`) of a finished stage.

    Raises:
        ValueError: the file is damaged, or holds other parts, which the message names.
    """
    try:
        parts, _ = original.split(load_file(folder / WEIGHTS))
    except SafetensorError as error:
        raise ValueError(f"{folder / WEIGHTS} is cut short or damaged: delete it and train the stage again") from error
    if part not in parts:
        raise ValueError(f"{folder / WEIGHTS} holds no {part}; it holds {', '.join(parts) or 'no known part'}")
    return parts[part]
