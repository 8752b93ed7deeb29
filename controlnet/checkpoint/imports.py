"""Taking models made elsewhere: the original's files, the folders of diffusers."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from controlnet.architecture import SD15, Architecture, ControlConfig, UNetConfig
from controlnet.checkpoint import diffusers, original, settings
from controlnet.checkpoint.card import ModelCard, ordered, read_card, same_network
from controlnet.checkpoint.detect import refuse_family, refuse_foreign, refuse_shuffle
from controlnet.checkpoint.infer import fitting_hint, infer_architecture
from controlnet.checkpoint.read import read_state
from controlnet.control import ControlNet
from controlnet.strict import CheckpointError, check
from controlnet.text import TextEncoder
from controlnet.unet import UNet
from controlnet.vae import VAE
from controlnet.vocabulary import TokenizerError, check_tokenizer, read_vocabulary

State = Mapping[str, Tensor]

_DIFFUSERS_CONTROL = "controlnet_cond_embedding.conv_in.weight"
_PICKLED_STEMS = ("diffusion_pytorch_model", "pytorch_model")


@dataclass(frozen=True, slots=True, eq=False)
class Imported:
    """A model as `write_bundle` takes it; all keys and shapes are checked.

    Attributes:
        architecture: Its numbers.
        unet: State dict of a `UNet`, with the dtype of the file.
        vae: State dict of a `VAE`.
        text: State dict of a `TextEncoder`.
        controls: State dicts of `ControlNet`s, by name; may be empty.
        tokenizer: Folder with vocab.json and merges.txt, or tokenizer.json, where the source has one.
        card: What else the bundle said that this was exported from, where it was.
    """

    architecture: Architecture
    unet: State
    vae: State
    text: State
    controls: Mapping[str, State]
    tokenizer: Path | None = None
    card: ModelCard | None = None


def import_checkpoint(
    file: str | Path,
    *,
    like: Architecture | None = None,
    heads: int | None = None,
    text_heads: int | None = None,
    control: str | None = None,
) -> Imported:
    """Take a full checkpoint in the original's layout (`v1-5-pruned.ckpt`, `control_sd15_canny.pth`, merges of them).

    Args:
        file: .safetensors, or a pickled kind, which is converted in a process of its own.
        like: The numbers that weights don't tell are taken from here: heads, norm groups, activation, scale factor,
            schedule. Those of the file's model card, or else of SD 1.5, if not given.
        heads: Attention heads of the UNet; those of `like` if not given.
        text_heads: Likewise of the text encoder.
        control: How to name the ControlNet, if there is one in the file; as the card does, or `control`, if not given.

    Raises:
        CheckpointError: Another kind of file, by its name; a part that is missing; or keys that are missing,
            unexpected or mis-shaped, all of them listed.
    """
    what = str(file)
    refuse_shuffle(Path(file).name, control or "")
    state = read_state(file)
    refuse_foreign(state, what=what)
    parts, strange = original.split(state)
    absent = [part for part in ("unet", "vae", "text") if part not in parts]
    if absent:
        if parts.keys() == {"control"} or original.STRIPPED_CONTROL in state or _DIFFUSERS_CONTROL in state:
            raise CheckpointError(f"{what} holds a control and no model: give the model by --base BUNDLE.")
        held = _names(parts) or "no known part"
        raise CheckpointError(f"{what} is no full checkpoint: {', '.join(absent)} missing; it holds {held}.")
    card = read_card(file)
    if card is not None and (like, heads, text_heads) == (None, None, None):
        architecture = card.architecture
    else:
        architecture = infer_architecture(
            unet=parts["unet"],
            vae=parts["vae"],
            text=parts["text"],
            control=parts.get("control"),
            like=like or (SD15 if card is None else card.architecture),
            heads=heads,
            text_heads=text_heads,
            what=what,
        )
    expected = original.merge({part: blank(part, architecture) for part in parts})
    check(expected, original.merge(parts) | strange, what=what)
    return Imported(
        architecture,
        unet=parts["unet"],
        vae=parts["vae"],
        text=parts["text"],
        controls={control or _only_control(card): parts["control"]} if "control" in parts else {},
        card=card,
    )


def import_control(source: str | Path, *, architecture: Architecture, variant: str | None = None) -> State:
    """Take one ControlNet for a model there is already.

    Args:
        source: A file in the original's layout (alone, with or without prefix, or within a full checkpoint) or with
            diffusers' names, or a folder of diffusers (config.json and weights).
        architecture: Of the model.
        variant: Of a folder's weights, as `import_diffusers` takes it.

    Raises:
        CheckpointError: Another kind of file or another family, by name; or keys that are missing, unexpected or
            mis-shaped, all of them listed.
    """
    source = Path(source)
    if source.is_dir():
        return _read_control_folder(source, architecture, variant)
    state = _read_control_file(source, architecture)
    card = read_card(source)
    if card is not None:
        _refuse_other_model(card.architecture.unet, card.architecture.control, architecture, what=str(source))
    return state


def import_diffusers(folder: str | Path, *, variant: str | None = None) -> Imported:
    """Take a pipeline folder of diffusers, with the ControlNets in its `controlnet` and `controlnet_<name>` folders.

    Args:
        folder: As `save_pretrained` writes it. Weights may be safetensors, sharded safetensors, or pickled.
        variant: As in `diffusion_pytorch_model.<variant>.safetensors`: "fp16", say.

    Raises:
        CheckpointError: A file is missing or of another kind or family; a config asks for what this library doesn't
            have; or keys are missing, unexpected or mis-shaped. Whatever it is, all of it is listed.
    """
    folder = Path(folder)
    if not (folder / "unet").is_dir():
        if _is_control_folder(folder):
            raise CheckpointError(f"{folder} holds a control and no model: give the model by --base BUNDLE.")
        raise CheckpointError(f"{folder} is no pipeline folder of diffusers: it has no unet.")
    states = {
        "unet": _read_weights(folder / "unet", variant),
        "vae": diffusers.modern_vae(_read_weights(folder / "vae", variant)),
        "text": diffusers.text_from_diffusers(_read_weights(folder / "text_encoder", variant)),
    }
    vocabulary = _read_vocabulary(folder / "tokenizer")
    _check_padding(folder / "tokenizer")
    vae = settings.read_vae(*_config(folder / "vae"))
    found = control_folders(folder)
    hints = {name: settings.read_control(*_config(path))[1] for name, path in found.items()}
    if len(set(hints.values())) > 1:
        raise CheckpointError(f"{folder} has ControlNets with different hint encoders: {hints}.")
    try:
        architecture = Architecture(
            unet=settings.read_unet(*_config(folder / "unet")),
            vae=vae,
            text=settings.read_text(*_config(folder / "text_encoder"), vocabulary=vocabulary),
            control=next(iter(hints.values()), fitting_hint(SD15.control, vae)),
            schedule=settings.read_schedule(*_config(folder / "scheduler", "scheduler_config.json")),
        )
        check_tokenizer(folder / "tokenizer", architecture.text)
    except CheckpointError:
        raise
    except TokenizerError as error:
        raise CheckpointError(str(error)) from error
    except ValueError as error:
        raise CheckpointError(f"{folder} makes no architecture: {error}.") from error
    card = read_card(folder)
    if card is not None:
        told = card.architecture if found else replace(card.architecture, control=architecture.control)
        if same_network(told, architecture):  # else configs were changed, and they say what the weights are
            architecture = card.architecture
    return Imported(
        architecture,
        unet=_from_diffusers("unet", states["unet"], architecture, what=str(folder / "unet")),
        vae=_from_diffusers("vae", states["vae"], architecture, what=str(folder / "vae")),
        text=_from_diffusers("text", states["text"], architecture, what=str(folder / "text_encoder")),
        controls={name: _read_control_folder(path, architecture, variant) for name, path in found.items()},
        tokenizer=folder / "tokenizer",
        card=card,
    )


def control_folders(folder: Path) -> dict[str, Path]:
    """The folders of a pipeline's ControlNets by the names of their controls.

    `controlnet_canny` is `canny`; diffusers' own `controlnet` and `controlnet_1` are `control` and `control_1`.
    """
    return {_control_name(path.name): path for path in sorted(folder.glob("controlnet*")) if path.is_dir()}


def blank(part: str, architecture: Architecture) -> dict[str, Tensor]:
    """The state dict that `unet`, `vae`, `text` or `control` should have: names and shapes, no memory."""
    with torch.device("meta"):
        net: nn.Module
        match part:
            case "unet":
                net = UNet(architecture.unet)
            case "vae":
                net = VAE(architecture.vae)
            case "text":
                net = TextEncoder(architecture.text)
            case "control":
                net = ControlNet(architecture.unet, architecture.control)
            case _:
                raise ValueError(f"part is {part!r}: choose from unet, vae, text, control")
    return net.state_dict()


def _names(parts: Collection[str]) -> str:
    return ", ".join(part for part in original.PREFIXES if part in parts)


def _from_diffusers(part: str, state: State, architecture: Architecture, *, what: str) -> dict[str, Tensor]:
    """Check one part in the names of its file, so that an error speaks of those, and rename it."""
    expected = blank(part, architecture)
    match part:
        case "vae":
            check(diffusers.vae_to_diffusers(expected, architecture.vae, what=what), state, what=what)
            return diffusers.vae_from_diffusers(state, architecture.vae, what=what)
        case "text":
            check(diffusers.text_to_diffusers(expected), diffusers.text_to_diffusers(state), what=what)
            return dict(state)
        case _:
            unet = part == "unet"
            table = (
                diffusers.unet_table(architecture.unet)
                if unet
                else diffusers.control_table(architecture.unet, architecture.control)
            )
            check(diffusers.to_diffusers(expected, table, what=what), state, what=what)
            return diffusers.from_diffusers(state, table, what=what)


def _read_control_file(file: Path, architecture: Architecture) -> State:
    what = str(file)
    refuse_shuffle(file.name)
    state = read_state(file)
    refuse_foreign(state, what=what)
    if _DIFFUSERS_CONTROL in state:
        refuse_family(state, architecture.unet.context_dim, what=what)
        return _from_diffusers("control", state, architecture, what=what)
    if original.STRIPPED_CONTROL in state:
        refuse_family(state, architecture.unet.context_dim, what=what)
        check(blank("control", architecture), state, what=what)
        return state
    parts, strange = original.split(state)
    if "control" not in parts:
        raise CheckpointError(f"{what} holds no ControlNet; it holds {_names(parts) or 'no known part'}.")
    refuse_family(parts["control"], architecture.unet.context_dim, what=what)
    expected = original.merge({"control": blank("control", architecture)})
    check(expected, original.merge({"control": parts["control"]}) | strange, what=what)
    return parts["control"]


def _read_control_folder(folder: Path, architecture: Architecture, variant: str | None = None) -> dict[str, Tensor]:
    state = _read_weights(folder, variant)
    refuse_family(state, architecture.unet.context_dim, what=str(folder))
    trunk, hint, reversed_channels = settings.read_control(*_config(folder))
    _refuse_other_model(trunk, hint, architecture, what=str(folder))
    named = _from_diffusers("control", state, architecture, what=str(folder))
    if reversed_channels:
        named[original.STRIPPED_CONTROL] = named[original.STRIPPED_CONTROL].flip(1)
    return named


def _refuse_other_model(trunk: UNetConfig, hint: ControlConfig, architecture: Architecture, *, what: str) -> None:
    """Raise where a control was trained for other numbers than the model's, some of which its weights don't tell."""
    found = ordered(trunk)
    wanted = ordered(replace(architecture.unet, out_channels=trunk.out_channels))
    if (found, hint) != (wanted, architecture.control):
        raise CheckpointError(
            f"{what} is for another model: it has {found}, {hint}; not {wanted}, {architecture.control}."
        )


def _read_weights(folder: Path, variant: str | None) -> dict[str, Tensor]:
    """The tensors of one part: one safetensors file, several with an index, or a pickled file, in this order."""
    dot = f".{variant}" if variant else ""
    for stem in ("diffusion_pytorch_model", "model"):
        index = folder / f"{stem}.safetensors.index{dot}.json"
        if (single := folder / f"{stem}{dot}.safetensors").is_file():
            files = [single]
        elif index.is_file():
            files = [folder / name for name in sorted(set(_read_json(index).get("weight_map", {}).values()))]
            if any(file.parent != folder for file in files):
                raise CheckpointError(f"{index} points outside its folder.")
        else:
            continue
        break
    else:
        files = [file for file in (folder / f"{stem}{dot}.bin" for stem in _PICKLED_STEMS) if file.is_file()][:1]
    if not files:
        raise CheckpointError(f"{folder} has no weights{f' of variant {variant!r}' if variant else ''}.")
    state = {key: tensor for file in files for key, tensor in read_state(file).items()}
    refuse_foreign(state, what=str(folder), part=True)
    return state


def _config(folder: Path, name: str = "config.json") -> tuple[dict[str, Any], str]:
    """A config and what to call it in errors."""
    return _read_json(folder / name), str(folder / name)


def _read_json(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file} can't be read as JSON: {error}.") from error
    if not isinstance(data, dict):
        raise CheckpointError(f"{file} holds no JSON object.")
    return data


def _read_vocabulary(tokenizer: Path) -> dict[str, int]:
    try:
        return read_vocabulary(tokenizer)
    except TokenizerError as error:
        raise CheckpointError(str(error)) from error


def _is_control_folder(folder: Path) -> bool:
    config = folder / "config.json"
    return config.is_file() and _read_json(config).get("_class_name") == "ControlNetModel"


def _only_control(card: ModelCard | None) -> str:
    return next(iter(card.controls)) if card is not None and len(card.controls) == 1 else "control"


def _check_padding(tokenizer: Path) -> None:
    """Refuse a tokenizer that pads as SD 2 does: ours pads with the end token, and padding is read like any token."""
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (tokenizer / name).is_file():
            pad = _read_json(tokenizer / name).get("pad_token", "<|endoftext|>")
            token = pad.get("content") if isinstance(pad, dict) else pad
            if token != "<|endoftext|>":
                raise CheckpointError(f"{tokenizer / name} pads with {token!r}; only '<|endoftext|>' is supported.")


def _control_name(folder: str) -> str:
    name = folder.removeprefix("controlnet").lstrip("_-")
    return name if name and not name[0].isdigit() else "_".join(filter(None, ("control", name)))
