"""Small models whose every weight matters: nothing is left at zero, or a disconnected ControlNet would pass."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from tokenizers.pre_tokenizers import ByteLevel
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
from controlnet.bundle import Bundle, write_bundle
from controlnet.control import ControlNet
from controlnet.text import TextEncoder
from controlnet.unet import UNet
from controlnet.vae import VAE

ALPHABET = sorted(ByteLevel.alphabet())
VOCABULARY = [*ALPHABET, *(char + "</w>" for char in ALPHABET), "ge", "ar</w>", "<|startoftext|>", "<|endoftext|>"]
MERGES = "#version: 0.2\ng e\na r</w>\n"

TEXT = TextConfig(
    vocab_size=len(VOCABULARY),
    hidden_size=16,
    intermediate_size=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    max_position_embeddings=20,
    hidden_act="quick_gelu",
    bos_token_id=len(VOCABULARY) - 2,
    eos_token_id=len(VOCABULARY) - 1,
    pad_token_id=len(VOCABULARY) - 1,
)

ARCHITECTURES = {
    # Few levels, attention below the first only, deep transformers, a VAE of factor 4, velocity.
    "flat": Architecture(
        unet=UNetConfig(
            model_channels=8,
            channel_mult=(1, 2, 3),
            num_res_blocks=1,
            attention_resolutions=(4, 2),
            num_heads=2,
            context_dim=16,
            transformer_depth=2,
            norm_groups=4,
        ),
        vae=VAEConfig(channels=8, channel_mult=(1, 2, 3), num_res_blocks=1, norm_groups=4, scale_factor=0.6),
        text=TEXT,
        control=ControlConfig(hint_channels=(4, 6, 8)),
        schedule=ScheduleConfig(prediction="v"),
    ),
    # The shape of SD 1.5.
    "tall": Architecture(
        unet=UNetConfig(model_channels=8, channel_mult=(1, 2, 4, 4), num_heads=4, context_dim=16, norm_groups=8),
        vae=VAEConfig(channels=8, channel_mult=(1, 2, 4, 4), norm_groups=8),
        text=replace(TEXT, hidden_act="gelu"),
        control=ControlConfig(hint_channels=(2, 4, 6, 8)),
        schedule=ScheduleConfig(),
    ),
}

# What weights don't tell, as `like` gives it; all widths are SD 1.5's, and so must be inferred.
LIKE = {
    name: Architecture(
        unet=replace(SD15.unet, num_heads=numbers.unet.num_heads, norm_groups=numbers.unet.norm_groups),
        vae=replace(SD15.vae, norm_groups=numbers.vae.norm_groups, scale_factor=numbers.vae.scale_factor),
        text=replace(SD15.text, num_attention_heads=2, hidden_act=numbers.text.hidden_act),
        control=SD15.control,
        schedule=numbers.schedule,
    )
    for name, numbers in ARCHITECTURES.items()
}


def randomised(net: nn.Module, seed: int) -> dict[str, Tensor]:
    """The state dict with noise on every weight, the zero convolutions included."""
    draw = torch.Generator().manual_seed(seed)
    state = net.state_dict()
    return {key: tensor + 0.1 * torch.randn(tensor.shape, generator=draw) for key, tensor in state.items()}


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(VOCABULARY)}))
    (folder / "merges.txt").write_text(MERGES)
    return folder


@pytest.fixture(scope="session")
def make_bundle(tokenizer_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Architecture], Bundle]:
    def make(numbers: Architecture) -> Bundle:
        torch.manual_seed(0)
        return write_bundle(
            tmp_path_factory.mktemp("bundle") / "b",
            architecture=numbers,
            unet=randomised(UNet(numbers.unet), 1),
            vae=randomised(VAE(numbers.vae), 2),
            text=randomised(TextEncoder(numbers.text), 3),
            controls={
                "canny": (randomised(ControlNet(numbers.unet, numbers.control), 4), "canny", {}),
                "sketch": (randomised(ControlNet(numbers.unet, numbers.control), 5), "invert", {}),
            },
            tokenizer=tokenizer_folder,
            name="tiny",
            version="1",
            native_size=(numbers.multiple * 2, numbers.multiple),
            licence="Apache-2.0",
            training_data="none",
            metrics={},
            created=datetime(2026, 1, 1, tzinfo=UTC),
            dtype="float32",
        )

    return make


@pytest.fixture(scope="session", params=ARCHITECTURES)
def bundle(request: pytest.FixtureRequest, make_bundle: Callable[[Architecture], Bundle]) -> Bundle:
    return make_bundle(ARCHITECTURES[request.param])


@pytest.fixture(scope="session")
def flat(make_bundle: Callable[[Architecture], Bundle]) -> Bundle:
    return make_bundle(ARCHITECTURES["flat"])


@pytest.fixture(scope="session")
def like(bundle: Bundle) -> Architecture:
    name = next(name for name, numbers in ARCHITECTURES.items() if numbers == bundle.manifest.architecture)
    return LIKE[name]


@pytest.fixture(scope="session")
def flat_like() -> Architecture:
    return LIKE["flat"]
