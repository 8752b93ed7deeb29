"""The two models that are measured: one so small that batching pays three times, and the one that ships."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from controlnet.architecture import Architecture, ControlConfig, ScheduleConfig, UNetConfig, VAEConfig
from controlnet.bundle import DEMO, Bundle
from controlnet.control import ControlNet
from controlnet.layout import channels_last
from controlnet.pipeline import Pipeline
from controlnet.text import TextEncoder, Tokenizer
from controlnet.unet import UNet
from controlnet.vae import VAE

Net = TypeVar("Net", bound=nn.Module)


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A model at one size.

    Attributes:
        name: For the table.
        pipeline: The networks.
        side: Height and width of its pictures in pixels.
    """

    name: str
    pipeline: Pipeline
    side: int

    def hint(self, seed: int) -> Tensor:
        """A new control map [3, side, side]: white lines across black, as an edge detector might draw them."""
        down, across = torch.rand(2, self.side, generator=torch.Generator().manual_seed(seed)) > 0.8
        lines: Tensor = down[:, None] | across
        return lines.float().expand(3, -1, -1).contiguous()


def tiny() -> Subject:
    """Random weights, latents of 8x8, two controls; the words are the demo's."""
    demo = Bundle.open(DEMO)
    text = replace(
        demo.manifest.architecture.text,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=16,
    )
    numbers = Architecture(
        unet=UNetConfig(
            model_channels=32,
            channel_mult=(1, 2),
            num_res_blocks=1,
            attention_resolutions=(1, 2),
            num_heads=2,
            context_dim=32,
            norm_groups=8,
        ),
        vae=VAEConfig(channels=8, channel_mult=(1, 2, 2), num_res_blocks=1, norm_groups=4, scale_factor=0.2),
        text=text,
        control=ControlConfig(hint_channels=(4, 8, 8)),
        schedule=ScheduleConfig(prediction="v"),
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pipeline = Pipeline(
            numbers,
            unet=_connected(UNet(numbers.unet)),
            vae=VAE(numbers.vae),
            text=TextEncoder(text),
            tokenizer=Tokenizer(demo.path("tokenizer"), text.max_position_embeddings),
            controls={name: _steering(ControlNet(numbers.unet, numbers.control)) for name in ("canny", "depth")},
        )
    for net in (pipeline.unet, pipeline.vae, *pipeline.controls.values()):
        channels_last(net)  # as those of a bundle that was loaded
    return Subject("tiny, latent 8", pipeline, side=8 * numbers.vae.factor)


def demo() -> Subject:
    """The shipped bundle at its native size."""
    bundle = Bundle.open(DEMO)
    side = bundle.manifest.native_size.width
    return Subject(f"demo, latent {side // bundle.manifest.architecture.vae.factor}", Pipeline.load(bundle), side)


def _connected(net: Net) -> Net:
    """Give the layers that a new network has at zero some weights, or its controls would do nothing."""
    with torch.no_grad():
        for parameter in net.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1)
    return net


def _steering(control: ControlNet) -> ControlNet:
    """Connected, and its hint encoder such that maps reach its end: torch's own choice leaves little but biases."""
    for parameter in _connected(control).input_hint_block.parameters():
        if parameter.dim() > 1:
            nn.init.kaiming_normal_(parameter)
        else:
            nn.init.zeros_(parameter)
    return control
