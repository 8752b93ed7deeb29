"""The three stages: what each trains, on which batches, what it shows on the way and leaves at the end."""

import copy
import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pydantic import JsonValue
from torch import Tensor, nn
from torch.utils.data import Dataset

from controlnet.architecture import Architecture
from controlnet.bundle import PARTS, Bundle
from controlnet.control import ControlNet
from controlnet.diffusion import Schedule
from controlnet.layout import channels_last
from controlnet.parts import VOCABULARY
from controlnet.pipeline import Pipeline
from controlnet.pixels import Bytes, to_hint, to_tensor
from controlnet.text import TextEncoder, Tokenizer
from controlnet.training import grids
from controlnet.training.base import BaseTraining
from controlnet.training.checkpoints import LAST, check
from controlnet.training.config import Config, sides
from controlnet.training.control import ControlTraining
from controlnet.training.data import (
    Batch,
    Crops,
    Latents,
    Pictures,
    RenderedParts,
    cache_latents,
)
from controlnet.training.losses import ReconstructionLoss
from controlnet.training.pairs import JsonLinesPairs
from controlnet.training.store import WEIGHTS, load_saved, parse_architecture, read_summary, read_weights, replacing
from controlnet.training.tokenizer import write_tokenizer
from controlnet.training.vae import VAETraining, latent_scale
from controlnet.unet import UNet
from controlnet.vae import VAE


@dataclass(frozen=True)
class Stage:
    """One stage, ready to train.

    Attributes:
        module: what learns.
        data: items of batches.
        modules: what is written at the end, by part.
        show: makes a grid [H, W, 3] of what the module does now, and measures it.
        finish: the final numbers of the model, asked for after the last step.
        record: which pictures, and which base, it is trained on.
    """

    module: pl.LightningModule
    data: Dataset[Batch]
    modules: Mapping[str, nn.Module]
    show: Callable[[], tuple[Bytes, dict[str, float]]]
    finish: Callable[[], Architecture]
    record: Mapping[str, JsonValue]


def make_stage(config: Config) -> Stage:
    """Build the stage that the configuration names.

    Raises:
        ValueError: for an unknown stage or kind of data.
    """
    makers = {"vae": _vae, "base": _base, "control": _control}
    if config["stage"] not in makers:
        raise ValueError(f"stage is {config['stage']!r}; choose from {', '.join(makers)}")
    return makers[config["stage"]](config)


def open_pictures(config: Config, architecture: Architecture, split: str = "train") -> Pictures:
    """Open the training or the held-out pictures.

    Raises:
        ValueError: for an unknown kind of data, a size that the model can't take, or pairs with faults.
    """
    data = config["data"]
    folder = Path(data[split])
    if data["kind"] == "parts":
        return RenderedParts(folder)
    if data["kind"] == "pairs":
        return JsonLinesPairs(folder, *sides(config, architecture.multiple))
    raise ValueError(f"data.kind is {data['kind']!r}; choose 'parts' or 'pairs'")


def _open_both(config: Config, architecture: Architecture) -> tuple[Pictures, Pictures, str]:
    """Training and held-out pictures, and what those are called that are measured on.

    Without held-out ones they are the training's, whose files are looked at once.
    """
    pictures = open_pictures(config, architecture)
    if config["data"]["held_out"]:
        return pictures, open_pictures(config, architecture, "held_out"), "held_out"
    return pictures, pictures, "train"


def _told(config: Config, pictures: Pictures) -> dict[str, JsonValue]:
    return {"kind": config["data"]["kind"], "pictures": len(pictures), "digest": pictures.digest}


def _vae(config: Config) -> Stage:
    tokens = write_tokenizer(Path(config["folder"]) / "tokenizer", VOCABULARY, _length(config))
    numbers = dict(config["architecture"])
    special = {"vocab_size": tokens, "bos_token_id": tokens - 2, "eos_token_id": tokens - 1, "pad_token_id": tokens - 1}
    architecture = parse_architecture({**numbers, "text": {**numbers["text"], **special}})
    vae = VAE(architecture.vae)
    _go_on(Path(config["folder"]) / "vae", config, {"vae": vae})
    pictures, held_out, split = _open_both(config, architecture)
    shown = [held_out.image(i) for i in range(min(32, len(held_out)))]
    measured = torch.stack([to_tensor(pictures.image(i)) for i in range(min(512, len(pictures)))])

    def finish() -> Architecture:
        if config["lock_encoder"]:
            return read_summary(Path(config["folder"]) / "vae").architecture
        return replace(architecture, vae=replace(architecture.vae, scale_factor=latent_scale(vae, measured)))

    return Stage(
        module=VAETraining(
            vae,
            ReconstructionLoss(**config["loss"]),
            config["optimizer"],
            config["learning_rate"],
            config["lock_encoder"],
        ),
        data=Crops(pictures, config["crop"]),
        modules={"vae": vae},
        show=lambda: grids.reconstructions(vae, shown, split),
        finish=finish,
        record={"data": _told(config, pictures)},
    )


def _length(config: Config) -> int:
    return int(config["architecture"]["text"]["max_position_embeddings"])


def _base(config: Config) -> Stage:
    folder = Path(config["folder"])
    architecture, vae = _trained_vae(folder)
    # A UNet of another shape on the same VAE is one override away, so its numbers come from the configuration.
    unet_numbers = dict(config["architecture"])["unet"]
    architecture = replace(architecture, unet=type(architecture.unet)(**_tuples(unet_numbers)))
    tokenizer = Tokenizer(folder / "tokenizer", architecture.text.max_position_embeddings)
    unet, text = UNet(architecture.unet), TextEncoder(architecture.text)
    _go_on(folder / "base", config, {"unet": unet, "text": text})
    pictures = open_pictures(config, architecture)
    latents = kept_latents(folder / "latents.pt", vae, pictures, mirrored=config["data"]["mirrored"])

    def show() -> tuple[Bytes, dict[str, float]]:
        return grids.prompts(snapshot(architecture, unet, vae, text, tokenizer, {})), {}

    return Stage(
        module=BaseTraining(
            unet, text, Schedule(architecture.schedule), config["optimizer"], config["learning_rate"], config["gamma"]
        ),
        data=Latents(pictures, latents, tokenizer, config["dropout"]),
        modules={"unet": unet, "text": text},
        show=show,
        finish=lambda: architecture,
        record={"data": _told(config, pictures)},
    )


def _control(config: Config) -> Stage:
    folder, name = Path(config["folder"]), str(config["name"])
    base = Pipeline.load(Path(config["bundle"])) if config["bundle"] else load_base(folder)
    architecture, about = base.architecture, _base_of(config)
    control = ControlNet.from_unet(base.unet, architecture.control).requires_grad_(True)
    locked = {"unet": base.unet, "text": base.text}
    _go_on(folder / f"control-{name}", config, {"control": control}, locked, str(about["weights"]))
    pictures, held_out, split = _open_both(config, architecture)
    cache = folder / (f"latents-{name}.pt" if config["bundle"] else "latents.pt")
    latents = kept_latents(cache, base.vae, pictures, mirrored=config["data"]["mirrored"])
    module = ControlTraining(
        control,
        base.unet,
        base.text,
        Schedule(architecture.schedule),
        config["optimizer"],
        config["learning_rate"],
        config["fresh_rate"],
        config["gamma"],
        config["late"],
        base=str(about["weights"]),
    )
    shown = grids.Shown.of(held_out)
    batch = {
        "latent": latents[: len(shown.true)] if held_out is pictures else encode(base.vae, held_out, len(shown.true)),
        "ids": base.tokenizer(list(shown.prompts)),
        "hint": torch.stack([to_hint(hint) for hint in shown.hints]),
    }

    def show() -> tuple[Bytes, dict[str, float]]:
        pipeline = snapshot(architecture, base.unet, base.vae, base.text, base.tokenizer, {name: control})
        grid, metrics = grids.controlled(pipeline, name, shown, split)
        return grid, metrics | {f"loss_{split}": module.measure(batch)}

    return Stage(
        module=module,
        data=Latents(pictures, latents, base.tokenizer, config["dropout"], hints=True),
        modules={"control": control},
        show=show,
        finish=lambda: architecture,
        record={"base": about, "data": _told(config, pictures)},
    )


def _base_of(config: Config) -> dict[str, JsonValue]:
    """What a control is trained on: `weights` is the identity of its networks, whatever else its bundle holds."""
    if not config["bundle"]:
        file = Path(config["folder"]) / "base" / WEIGHTS
        with file.open("rb") as stream:
            return {"weights": hashlib.file_digest(stream, "sha256").hexdigest()}
    bundle = Bundle.open(config["bundle"])
    manifest = bundle.manifest
    weights = hashlib.sha256("".join(manifest.files[part].sha256 for part in PARTS).encode()).hexdigest()
    return {"name": manifest.name, "version": manifest.version, "bundle": bundle.digest, "weights": weights}


def _go_on(
    stage: Path,
    config: Config,
    modules: Mapping[str, nn.Module],
    locked: Mapping[str, nn.Module] | None = None,
    base: str = "",
) -> None:
    """Make sure that the checkpoint in the stage's folder is of this stage, or start from the weights that lie there.

    Weights without a checkpoint are an unpacked bundle's.

    Raises:
        ValueError: for a checkpoint or weights of something else, or damaged ones.
    """
    if (stage / LAST).is_file():
        check(stage / LAST, modules, locked or {}, base, config["optimizer"])
    elif (stage / WEIGHTS).is_file():
        for part, module in modules.items():
            try:
                module.load_state_dict(read_weights(stage, part))
            except RuntimeError as error:
                raise ValueError(
                    f"{stage / WEIGHTS} is of another architecture: go on with that, or give another folder="
                ) from error


def load_base(folder: Path, controls: Mapping[str, Path] | None = None) -> Pipeline:
    """Load the trained base of a run folder, with trained controls by the folders of their stages."""
    architecture, vae = _trained_vae(folder)
    architecture = replace(read_summary(folder / "base").architecture, vae=architecture.vae)
    unet, text = UNet(architecture.unet), TextEncoder(architecture.text)
    unet.load_state_dict(read_weights(folder / "base", "unet"))
    text.load_state_dict(read_weights(folder / "base", "text"))
    nets = {}
    for name, place in (controls or {}).items():
        nets[name] = ControlNet(architecture.unet, architecture.control)
        nets[name].load_state_dict(read_weights(place, "control"))
    tokenizer = Tokenizer(folder / "tokenizer", architecture.text.max_position_embeddings)
    return Pipeline(architecture, unet=unet, vae=vae, text=text, tokenizer=tokenizer, controls=nets)


def _trained_vae(folder: Path) -> tuple[Architecture, VAE]:
    architecture = read_summary(folder / "vae").architecture
    vae = VAE(architecture.vae)
    vae.load_state_dict(read_weights(folder / "vae", "vae"))
    return architecture, channels_last(vae.eval().requires_grad_(False))


def kept_latents(file: Path, vae: VAE, pictures: Pictures, *, mirrored: bool) -> Tensor:
    """Read `cache_latents` of pictures from a file, or make them, which takes minutes on a CPU, and write it.

    The file holds a digest of all that they depend on: VAE, pictures, their size, mirroring. With another one, or where
    the file is damaged, they are made anew.
    """
    digest = hashlib.sha256(repr((pictures.state, mirrored, vae.config)).encode())
    for weight in vae.state_dict().values():
        digest.update(weight.float().cpu().numpy().tobytes())
    made_of = digest.hexdigest()
    if file.is_file():
        with suppress(ValueError):
            kept = load_saved(file)
            if isinstance(kept, dict) and kept["made_of"] == made_of:
                latents: Tensor = kept["latents"]
                return latents
    pictures.check()  # before hours of training meet the one that is damaged
    latents = encode(vae, pictures, mirrored=mirrored)
    with replacing(file) as part:
        torch.save({"made_of": made_of, "latents": latents}, part)
    return latents


def encode(vae: VAE, pictures: Pictures, count: int | None = None, *, mirrored: bool = False) -> Tensor:
    """Return latents [N, C, h, w] of the first `count` pictures, or of all; on a GPU where there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    vae = vae.to(device)
    latents = cache_latents(
        lambda images: vae.to_latent(vae.encode(images.to(device)).mode()), pictures, count, mirrored=mirrored
    )
    vae.to("cpu")
    return latents


def snapshot(
    architecture: Architecture,
    unet: UNet,
    vae: VAE,
    text: TextEncoder,
    tokenizer: Tokenizer,
    controls: Mapping[str, ControlNet],
) -> Pipeline:
    """Make a pipeline of copies of the networks, where the UNet is: a pipeline freezes those that it has."""
    return Pipeline(
        architecture,
        unet=copy.deepcopy(unet),
        vae=copy.deepcopy(vae),
        text=copy.deepcopy(text),
        tokenizer=tokenizer,
        controls=copy.deepcopy(dict(controls)),
        device=next(unet.parameters()).device,
    )


def _tuples(numbers: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in numbers.items()}
