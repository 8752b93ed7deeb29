"""Sizes to run at, networks with random weights, and the images that are asked for."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count

import torch
from torch import Tensor, nn

from controlnet.architecture import (
    SD15,
    Architecture,
    ControlConfig,
    ScheduleConfig,
    TextConfig,
    UNetConfig,
    VAEConfig,
)
from controlnet.control import ControlNet
from controlnet.diffusion import Schedule
from controlnet.flops import Flops, flops
from controlnet.unet import UNet
from controlnet.vae import VAE

CONTROLS = 3  # ControlNets there are


@dataclass(frozen=True, slots=True)
class Size:
    """How large, and how often.

    Attributes:
        architecture: Of the networks.
        side: Of the pictures, in pixels.
        steps: Of an image.
        buckets: Rows, in the order in which they are made ready: should the time run out, the last ones are missed.
        middle: The bucket at which the cost of controls is measured.
        repeats: Of each comparison; the median counts.
    """

    architecture: Architecture
    side: int
    steps: int
    buckets: tuple[int, ...]
    middle: int
    repeats: int

    @property
    def largest(self) -> int:
        """The largest bucket."""
        return max(self.buckets)

    @property
    def cost(self) -> Flops:
        """Operations of each network."""
        return flops(self.architecture, self.side, self.side)


SMALL = Architecture(
    unet=UNetConfig(
        model_channels=16,
        channel_mult=(1, 2),
        num_res_blocks=1,
        attention_resolutions=(2,),
        num_heads=2,
        context_dim=16,
        norm_groups=8,
    ),
    vae=VAEConfig(channels=8, channel_mult=(1, 2), num_res_blocks=1, norm_groups=4),
    text=TextConfig(
        vocab_size=8,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=12,
        bos_token_id=6,
        eos_token_id=7,
        pad_token_id=7,
    ),
    control=ControlConfig(hint_channels=(4, 8)),
    schedule=ScheduleConfig(),
)

SIZES = {
    "full": Size(SD15, side=512, steps=20, buckets=(2, 32, 16, 8), middle=16, repeats=3),
    "small": Size(SMALL, side=16, steps=4, buckets=(2, 8), middle=8, repeats=1),
}


@dataclass(frozen=True, slots=True)
class Networks:
    """What an image passes through, on one device and at one dtype."""

    unet: UNet
    controls: tuple[ControlNet, ...]
    vae: VAE
    schedule: Schedule
    device: torch.device
    dtype: torch.dtype

    @classmethod
    def random(cls, architecture: Architecture, device: torch.device) -> Networks:
        """Float32 networks whose every layer does something."""
        with torch.device("meta"):
            unet, vae = UNet(architecture.unet), VAE(architecture.vae)
            controls = [ControlNet(architecture.unet, architecture.control) for _ in range(CONTROLS)]
        draw = torch.Generator(device).manual_seed(0)
        for net in (unet, vae, *controls):
            _fill(net.to_empty(device=device), draw)
        schedule = Schedule(architecture.schedule)
        schedule.alphas_cumprod = schedule.alphas_cumprod.to(device)  # where it is looked up
        return cls(unet, tuple(controls), vae, schedule, device, torch.float32)

    def at(self, dtype: torch.dtype, memory_format: torch.memory_format = torch.contiguous_format) -> Networks:
        """Copy at another dtype or memory format."""
        unet, vae, controls = copy.deepcopy((self.unet, self.vae, self.controls))
        for net in (unet, vae, *controls):
            net.to(dtype=dtype, memory_format=memory_format)  # type: ignore[call-overload]
        return replace(self, unet=unet, vae=vae, controls=controls, dtype=dtype)


def _fill(net: nn.Module, draw: torch.Generator) -> None:
    """Spread that keeps the size of activations; scales about 1; zero convolutions like any other."""
    net.eval().requires_grad_(False)
    for name, weight in net.named_parameters():
        if weight.dim() > 1:
            weight.normal_(0.0, weight[0].numel() ** -0.5, generator=draw)
        else:
            weight.normal_(float(name.endswith(".weight")), 0.05, generator=draw)


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """One image to make.

    Attributes:
        noise: To start from, [C,h,w] float32.
        context: Features of the prompt and of the negative prompt, [2,T,D].
        hint: Of every control it has, [3,H,W].
        steps: Of DDIM.
        guidance: Above 1, so that every image has two rows.
        controls: Which.
        window: Shares of the steps between which they act, as `controlnet.pipeline.Control` has it.
    """

    noise: Tensor
    context: Tensor
    hint: Tensor
    steps: int
    guidance: float = 7.5
    controls: tuple[int, ...] = (0,)
    window: tuple[float, float] = (0.0, 1.0)

    def acts(self, index: int) -> bool:
        """Whether its controls act at step `index`."""
        start, end = self.window
        return bool(self.controls) and index / self.steps >= start and (index + 1) / self.steps <= end


class Images:
    """An endless supply; equal calls give equal images. Tensors repeat after `variety` images, made beforehand."""

    def __init__(self, size: Size, device: torch.device, dtype: torch.dtype, variety: int = 24) -> None:
        numbers, draw = size.architecture, torch.Generator().manual_seed(1)
        latent = (numbers.unet.in_channels, size.side // numbers.vae.factor, size.side // numbers.vae.factor)
        features = (2, numbers.text.max_position_embeddings, numbers.unet.context_dim)
        self._steps = size.steps
        self._made = [
            Image(
                noise=torch.randn(latent, generator=draw).to(device),
                context=torch.randn(features, generator=draw).to(device, dtype),
                hint=torch.rand(3, size.side, size.side, generator=draw).to(device, dtype),
                steps=size.steps,
            )
            for _ in range(variety)
        ]

    def alike(self, controls: tuple[int, ...] = (0,)) -> Iterator[Image]:
        """All with the same steps, guidance and controls."""
        for number in count():
            yield replace(self._made[number % len(self._made)], controls=controls)

    def mixed(self) -> Iterator[Image]:
        """Half, one, one and a half and two and a half times the steps, 20 guidances, three windows, two controls."""
        windows = ((0.0, 1.0), (0.0, 0.5), (0.25, 0.75))
        for number in count():
            yield replace(
                self._made[number % len(self._made)],
                steps=self._steps * (1, 2, 3, 5)[number % 4] // 2,
                guidance=1.5 + 0.5 * (7 * number % 20),
                controls=(number // 2 % 2,),
                window=windows[number // 4 % 3],
            )
