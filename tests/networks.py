"""Tiny networks with random weights. No layer is left at zero, or a disconnected ControlNet would pass."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import nn

from controlnet.architecture import Architecture, ControlConfig, ScheduleConfig, TextConfig, UNetConfig, VAEConfig
from controlnet.control import ControlNet
from controlnet.pipeline import Pipeline
from controlnet.text import TextEncoder, Tokenizer
from controlnet.unet import UNet
from controlnet.vae import VAE

LETTERS = "abcdefghijklmnopqrstuvwxyz"
TOKENS = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]

TINY = Architecture(
    unet=UNetConfig(
        model_channels=16,
        channel_mult=(1, 2),
        num_res_blocks=1,
        attention_resolutions=(1, 2),
        num_heads=2,
        context_dim=16,
        norm_groups=8,
    ),
    vae=VAEConfig(channels=8, channel_mult=(1, 2, 2), num_res_blocks=1, norm_groups=4, scale_factor=0.5),
    text=TextConfig(
        vocab_size=len(TOKENS),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=12,
        bos_token_id=len(TOKENS) - 2,
        eos_token_id=len(TOKENS) - 1,
        pad_token_id=len(TOKENS) - 1,
    ),
    control=ControlConfig(hint_channels=(4, 8, 8)),
    schedule=ScheduleConfig(prediction="v"),
)


def randomise(net: nn.Module, seed: int) -> nn.Module:
    """Small random numbers everywhere, zero convolutions included."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            spread = 0.3 / max(1, parameter[0].numel()) ** 0.5 if parameter.dim() > 1 else 0.1
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread * 3 + (parameter.dim() == 1))
    return net


def write_tokenizer(folder: Path, size: int = len(TOKENS)) -> Path:
    """A vocabulary of letters, as CLIP's tokenizer reads it; the last two of `size` tokens are start and end."""
    tokens = [*TOKENS[:-2], *(f"unused{i}</w>" for i in range(size - len(TOKENS))), *TOKENS[-2:]]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return folder


def tiny_pipeline(folder: Path) -> Pipeline:
    """Two controls, so that groups of rows differ."""
    nets = {name: ControlNet(TINY.unet, TINY.control) for name in ("canny", "depth")}
    for seed, net in enumerate(nets.values(), start=10):
        randomise(net, seed)
    return Pipeline(
        TINY,
        unet=randomise(UNet(TINY.unet), 0),
        vae=randomise(VAE(TINY.vae), 1),
        text=randomise(TextEncoder(TINY.text), 2),
        tokenizer=Tokenizer(write_tokenizer(folder), TINY.text.max_position_embeddings),
        controls=nets,
    )
