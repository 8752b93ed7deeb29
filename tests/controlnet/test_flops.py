"""Counted by formula, against published counts and against what torch counts while the networks run."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from controlnet.architecture import SD15, Architecture, UNetConfig, VAEConfig
from controlnet.control import ControlNet
from controlnet.flops import flops
from controlnet.text import TextEncoder
from controlnet.unet import UNet
from controlnet.vae import VAE
from tests.networks import TINY

GIGA = 2e9  # operations in a giga-multiply-add

ODD = replace(
    TINY,
    unet=UNetConfig(
        model_channels=16,
        channel_mult=(1, 3, 2),
        num_res_blocks=3,
        attention_resolutions=(2,),
        num_heads=2,
        context_dim=16,
        transformer_depth=2,
        norm_groups=8,
    ),
    vae=VAEConfig(channels=8, channel_mult=(2, 1, 2), num_res_blocks=2, norm_groups=4),
)


@pytest.mark.parametrize(
    ("side", "unet", "control", "decode"),
    [(512, 401.6, 141.6, 1257), (768, 1074, 387, 2877), (1024, 2337, 859, 5235)],
)
def test_sd15_takes_what_is_published(side: int, unet: float, control: float, decode: float) -> None:
    cost = flops(SD15, side, side)
    found = (cost.unet / GIGA, (cost.control + cost.hint) / GIGA, cost.decode / GIGA)
    assert found == pytest.approx((unet, control, decode), rel=1e-3)


def test_sd15s_small_parts_take_what_is_published() -> None:
    cost = flops(SD15, 512, 512)
    assert (cost.hint / GIGA, cost.text / GIGA) == pytest.approx((7.36, 6.65), rel=1e-3)


def test_a_picture_of_20_steps_takes_45_tflop() -> None:
    assert flops(SD15, 512, 512).image(20, controlled_steps=20) == pytest.approx(45.41e12, rel=1e-3)
    assert flops(SD15, 512, 512).image(20) == pytest.approx(34.67e12, rel=1e-3)


@pytest.mark.parametrize("numbers", [TINY, ODD], ids=["tiny", "odd"])
def test_torch_counts_the_same(numbers: Architecture) -> None:
    height, width = 2 * numbers.multiple, 3 * numbers.multiple
    tokens, factor = numbers.text.max_position_embeddings, numbers.vae.factor
    with torch.device("meta"):
        unet, vae, text = UNet(numbers.unet), VAE(numbers.vae), TextEncoder(numbers.text)
        control = ControlNet(numbers.unet, numbers.control)
        latent, t = torch.empty(1, 4, height // factor, width // factor), torch.empty(1, dtype=torch.int64)
        context, hint = torch.empty(1, tokens, numbers.text.hidden_size), torch.empty(1, 3, height, width)
        ids = torch.zeros(1, tokens, dtype=torch.int64)
        embedded = torch.empty(1, numbers.unet.model_channels, *latent.shape[2:])
    runs = {
        "unet": lambda: unet(latent, t, context),
        "control": lambda: control(latent, embedded, t, context),
        "hint": lambda: control.embed(hint),
        "decode": lambda: vae.decode(latent),
        "text": lambda: text(ids),
    }
    for part, run in runs.items():
        with FlopCounterMode(display=False) as counter:
            run()
        assert getattr(flops(numbers, height, width), part) == counter.get_total_flops(), part


def test_a_size_the_networks_cannot_make_is_refused() -> None:
    with pytest.raises(ValueError, match="size 512x500 is not a positive multiple of 64"):
        flops(SD15, 500, 512)
