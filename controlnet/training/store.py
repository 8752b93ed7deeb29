"""What a finished stage leaves in its folder: its weights and, as JSON, the numbers and measurements."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from controlnet.architecture import Architecture

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


def write_stage(folder: Path, modules: Mapping[str, nn.Module], summary: Summary) -> None:
    """Write the weights as `<module>.<key>` and the summary beside them."""
    states = {f"{name}.{key}": value for name, net in modules.items() for key, value in net.state_dict().items()}
    write_tensors(folder, states, summary)


def write_tensors(folder: Path, states: Mapping[str, Tensor], summary: Summary) -> None:
    """Write weights that carry their module's name already."""
    folder.mkdir(parents=True, exist_ok=True)
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


def read_weights(folder: Path, module: str) -> dict[str, Tensor]:
    """Read the state dict of one module (`vae`, `unet`, `text`, `control`) of a finished stage."""
    prefix = f"{module}."
    weights: dict[str, Tensor] = load_file(folder / WEIGHTS)
    return {key.removeprefix(prefix): tensor for key, tensor in weights.items() if key.startswith(prefix)}
