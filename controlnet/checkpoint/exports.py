"""Giving models away: folders for diffusers, single files for the original, ComfyUI and A1111.

Each holds a model card (`card`), from which import makes the same model again. Nothing that is there is overwritten.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from controlnet.bundle import Bundle, taken
from controlnet.checkpoint import card, configs, diffusers, original
from controlnet.checkpoint.imports import blank
from controlnet.strict import CheckpointError, check
from controlnet.tensors import write_tensors


def export_diffusers(bundle: Bundle, folder: str | Path) -> Path:
    """Write a pipeline folder: `StableDiffusionPipeline.from_pretrained` loads it.

    Each control becomes a ControlNet folder of its own inside, `controlnet_<name>`, for
    `ControlNetModel.from_pretrained(folder, subfolder="controlnet_canny")`. Weights keep the bundle's dtype.

    Args:
        bundle: An open bundle.
        folder: Must not exist, or be empty.

    Returns:
        The folder.

    Raises:
        CheckpointError: The folder isn't empty, a file of the bundle doesn't fit its architecture, or diffusers has
            no place for that architecture.
        OSError: It can't be written.
    """
    numbers, size = bundle.manifest.architecture, bundle.manifest.native_size
    configs.refuse_unwritable(numbers)
    target = Path(folder)
    if why := taken(target):
        raise CheckpointError(why)
    picture = (size.height, size.width)
    latent = [side // numbers.vae.factor for side in picture]
    unet = diffusers.to_diffusers(_read(bundle, "unet"), diffusers.unet_table(numbers.unet), what="unet.safetensors")
    vae = diffusers.vae_to_diffusers(_read(bundle, "vae"), numbers.vae, what="vae.safetensors")
    text = diffusers.text_to_diffusers(_read(bundle, "text"))
    _write_part(target / "unet", configs.unet_config(numbers.unet, latent), unet)
    _write_part(target / "vae", configs.vae_config(numbers.vae, picture), vae)
    _write_part(target / "text_encoder", configs.text_config(numbers.text), text, weights="model.safetensors")
    for name in bundle.manifest.controls:
        table = diffusers.control_table(numbers.unet, numbers.control)
        control = diffusers.to_diffusers(_read(bundle, "control", name), table, what=name)
        part = target / f"controlnet_{name}"
        _write_part(part, configs.control_config(numbers.unet, numbers.control), control)
        _write_card(bundle, [name], part)
    tokenizer = target / "tokenizer"
    tokenizer.mkdir()
    for name in ("vocab.json", "merges.txt"):
        shutil.copyfile(bundle.path("tokenizer") / name, tokenizer / name)
    _write_json(tokenizer / "tokenizer_config.json", configs.tokenizer_config(numbers.text))
    _write_json(tokenizer / "special_tokens_map.json", configs.special_tokens())
    (target / "scheduler").mkdir()
    _write_json(target / "scheduler" / "scheduler_config.json", configs.scheduler_config(numbers.schedule))
    _write_json(target / "model_index.json", configs.model_index())
    _write_card(bundle, bundle.manifest.controls, target)
    return target


def export_original(bundle: Bundle, control: str | None, file: str | Path) -> Path:
    """Write base and control as one file in the original's layout, as `control_sd15_canny.pth` has it.

    The original repository, ComfyUI and A1111 take it where the bundle has SD 1.5's architecture: they build that,
    whatever the file holds. They have no place for another latent scale or for the prediction `v` either; tell them
    by their own settings. (`import_checkpoint` takes back any bundle, by its model card.)

    Args:
        bundle: An open bundle.
        control: Name of the control to include; None for the base alone.
        file: Where to, `.safetensors`; must not exist.

    Returns:
        The file.

    Raises:
        CheckpointError: Another suffix, the file is there already, no such control, or a file of the bundle doesn't
            fit its architecture.
        OSError: It can't be written.
    """
    parts = {part: _read(bundle, part) for part in ("unet", "vae", "text")}
    if control is not None:
        parts["control"] = _read(bundle, "control", control)
    numbers = bundle.manifest.architecture
    extra = original.buffers(numbers.schedule, numbers.text.max_position_embeddings)
    return _write_file(original.merge(parts) | extra, file, _metadata(bundle, control))


def export_control(bundle: Bundle, control: str, file: str | Path) -> Path:
    """Write one control alone in the original's layout, as the v1.1 files have it (`control_model.` before each key).

    Args:
        bundle: An open bundle.
        control: Name of the control.
        file: Where to, `.safetensors`; must not exist.

    Returns:
        The file.

    Raises:
        CheckpointError: As for `export_original`.
    """
    state = original.merge({"control": _read(bundle, "control", control)})
    return _write_file(state, file, _metadata(bundle, control))


def _read(bundle: Bundle, part: str, control: str = "") -> dict[str, Tensor]:
    """A part's state dict, checked: a bundle's hashes say that it is what was written, not that it is right."""
    controls = bundle.manifest.controls
    if part == "control" and control not in controls:
        raise CheckpointError(f"control {control!r} is not in the bundle: choose from {', '.join(sorted(controls))}.")
    name = controls[control].file if part == "control" else f"{part}.safetensors"
    state = load_file(bundle.path(name))
    check(blank(part, bundle.manifest.architecture), state, what=name)
    return state


def _write_part(
    folder: Path, config: Mapping[str, Any], state: Mapping[str, Tensor], weights: str = configs.WEIGHTS
) -> None:
    folder.mkdir(parents=True)
    _write_json(folder / "config.json", config)
    _write_file(state, folder / weights)


def _write_file(state: Mapping[str, Tensor], file: str | Path, metadata: Mapping[str, str] | None = None) -> Path:
    file = Path(file)
    if file.suffix != ".safetensors":
        raise CheckpointError(f"{file} does not end in .safetensors.")
    if why := taken(file):
        raise CheckpointError(why)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_tensors({key: tensor.contiguous() for key, tensor in state.items()}, file, metadata)
    return file


def _metadata(bundle: Bundle, control: str | None) -> dict[str, str]:
    return {card.KEY: card.ModelCard.of(bundle.manifest, [control] if control else []).text()}


def _write_card(bundle: Bundle, controls: Collection[str], folder: Path) -> None:
    (folder / card.FILE).write_text(card.ModelCard.of(bundle.manifest, controls).text(), encoding="utf-8")


def _write_json(file: Path, data: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(data, indent=2, sort_keys=True) + "\n", encoding="utf-8")
