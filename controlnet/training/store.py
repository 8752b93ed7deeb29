"""What a finished stage leaves in its folder: its weights and, as JSON, the numbers and measurements."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file
from torch import Tensor

from controlnet.architecture import Architecture
from controlnet.checkpoint import original

WEIGHTS, SUMMARY = "weights.safetensors", "summary.json"


@dataclass(frozen=True)
class Summary:
    """How a stage ended.

    Attributes:
        architecture: all numbers of the model; the stage `vae` measures its scale factor.
        steps: optimizer steps.
        seconds: of training, grids included.
        metrics: measured at the end.
        origin: digest of the bundle whose weights the stage started from; empty where it started from nothing.
    """

    architecture: Architecture
    steps: int
    seconds: float
    metrics: dict[str, float]
    origin: str = ""


def parse_architecture(numbers: object) -> Architecture:
    """Read an architecture from plain JSON or YAML data; missing numbers are those of Stable Diffusion 1.5."""
    return TypeAdapter(Architecture).validate_python(numbers)


def write_stage(folder: Path, parts: Mapping[str, Mapping[str, Tensor]], summary: Summary) -> None:
    """Write state dicts by part under the original's names, which `controlnet import` knows, and the summary."""
    folder.mkdir(parents=True, exist_ok=True)
    states = original.merge(parts)
    save_file({key: tensor.detach().cpu().contiguous() for key, tensor in states.items()}, folder / WEIGHTS)
    (folder / SUMMARY).write_text(json.dumps(asdict(summary), indent=2) + "\n")


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


def read_weights(folder: Path, part: str) -> dict[str, Tensor]:
    """Read the state dict of one part (`vae`, `unet`, `text`, `control`) of a finished stage.

    Raises:
        ValueError: names the parts that are there instead.
    """
    parts, _ = original.split(load_file(folder / WEIGHTS))
    if part not in parts:
        raise ValueError(f"{folder / WEIGHTS} holds no {part}; it holds {', '.join(parts) or 'no known part'}")
    return parts[part]
