"""The three stages: what each trains, on which batches, what it shows on the way and leaves at the end."""

import copy
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from controlnet.architecture import Architecture
from controlnet.bundle import Bundle
from controlnet.control import ControlNet
from controlnet.diffusion import Schedule
from controlnet.layout import channels_last
from controlnet.parts import VOCABULARY
from controlnet.pipeline import Pipeline
from controlnet.pixels import Bytes, to_tensor
from controlnet.text import TextEncoder, Tokenizer
from controlnet.training import grids
from controlnet.training.base import BaseTraining
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
from controlnet.training.store import WEIGHTS, parse_architecture, read_summary, read_weights
from controlnet.training.tokenizer import write_tokenizer
from controlnet.training.vae import VAETraining, latent_scale
from controlnet.unet import UNet
from controlnet.vae import VAE

Config = Mapping[str, Any]

NATIVE = 128
"""Side of the pictures that a model of the configuration's own numbers is trained on, in pixels."""


@dataclass(frozen=True)
class Stage:
    """One stage, ready to train.

    Attributes:
        module: what learns.
        data: items of batches.
        modules: what is written at the end, by part.
        show: makes a grid [H, W, 3] of what the module does now, and measures it.
        finish: the final numbers of the model, asked for after the last step.
    """

    module: pl.LightningModule
    data: Dataset[Batch]
    modules: Mapping[str, nn.Module]
    show: Callable[[], tuple[Bytes, dict[str, float]]]
    finish: Callable[[], Architecture]


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
        return JsonLinesPairs(folder, *_sides(config, architecture.multiple))
    raise ValueError(f"data.kind is {data['kind']!r}; choose 'parts' or 'pairs'")


def _open_both(config: Config, architecture: Architecture) -> tuple[Pictures, Pictures]:
    """Training and held-out pictures; without held-out ones the training ones, whose files are looked at once."""
    pictures = open_pictures(config, architecture)
    return pictures, open_pictures(config, architecture, "held_out") if config["data"]["held_out"] else pictures


def _sides(config: Config, multiple: int) -> tuple[int, int]:
    """Height and width to train at: as set, or those of the bundle whose base is trained on."""
    size = config["data"]["size"]
    if size is None and config.get("bundle"):
        native = Bundle.open(config["bundle"]).manifest.native_size
        return native.height, native.width
    size = NATIVE if size is None else size
    if size < multiple or size % multiple:
        near = max(1, round(size / multiple)) * multiple
        raise ValueError(f"data.size is {size}: the model takes multiples of {multiple}, such as {near}")
    return size, size


def _vae(config: Config) -> Stage:
    tokens = write_tokenizer(Path(config["folder"]) / "tokenizer", VOCABULARY, _length(config))
    numbers = dict(config["architecture"])
    special = {"vocab_size": tokens, "bos_token_id": tokens - 2, "eos_token_id": tokens - 1, "pad_token_id": tokens - 1}
    architecture = parse_architecture({**numbers, "text": {**numbers["text"], **special}})
    vae = VAE(architecture.vae)
    _go_on(Path(config["folder"]) / "vae", {"vae": vae})
    pictures, held_out = _open_both(config, architecture)
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
        show=lambda: grids.reconstructions(vae, shown),
        finish=finish,
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
    _go_on(folder / "base", {"unet": unet, "text": text})
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
    )


def _control(config: Config) -> Stage:
    folder, name = Path(config["folder"]), str(config["name"])
    base = Pipeline.load(Path(config["bundle"])) if config["bundle"] else load_base(folder)
    architecture = base.architecture
    control = ControlNet.from_unet(base.unet, architecture.control).requires_grad_(True)
    _go_on(folder / f"control-{name}", {"control": control})
    pictures, held_out = _open_both(config, architecture)
    cache = folder / (f"latents-{name}.pt" if config["bundle"] else "latents.pt")
    latents = kept_latents(cache, base.vae, pictures, mirrored=config["data"]["mirrored"])

    def show() -> tuple[Bytes, dict[str, float]]:
        pipeline = snapshot(architecture, base.unet, base.vae, base.text, base.tokenizer, {name: control})
        return grids.controlled(pipeline, name, held_out)

    return Stage(
        module=ControlTraining(
            control,
            base.unet,
            base.text,
            Schedule(architecture.schedule),
            config["optimizer"],
            config["learning_rate"],
            config["fresh_rate"],
            config["gamma"],
            config["late"],
        ),
        data=Latents(pictures, latents, base.tokenizer, config["dropout"], hints=True),
        modules={"control": control},
        show=show,
        finish=lambda: architecture,
    )


def _go_on(stage: Path, modules: Mapping[str, nn.Module]) -> None:
    """Start from the weights that lie in the stage's folder, if some do: an unpacked bundle's, or its own of before."""
    if (stage / WEIGHTS).is_file():
        for part, module in modules.items():
            module.load_state_dict(read_weights(stage, part))


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

    The file holds a digest of all that they depend on: VAE, pictures, their size, mirroring. With another one they are
    made anew.
    """
    digest = hashlib.sha256(repr((pictures.state, mirrored, vae.config)).encode())
    for weight in vae.state_dict().values():
        digest.update(weight.float().cpu().numpy().tobytes())
    made_of = digest.hexdigest()
    if file.is_file():
        kept = torch.load(file, weights_only=True)
        if isinstance(kept, dict) and kept["made_of"] == made_of:
            latents: Tensor = kept["latents"]
            return latents
    pictures.check()  # before hours of training meet the one that is damaged
    device = "cuda" if torch.cuda.is_available() else "cpu"
    vae = vae.to(device)
    latents = cache_latents(
        lambda images: vae.to_latent(vae.encode(images.to(device)).mode()), pictures, mirrored=mirrored
    )
    vae.to("cpu")
    torch.save({"made_of": made_of, "latents": latents}, file)
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
