"""Reading a model's numbers off its weights.

Weights tell widths, depths, which levels have attention, and the sizes of vocabulary and latent. They don't tell how
channels are grouped (heads, norm groups), the activation, the latent's scale or the schedule: those come from `like`.
All state dicts here have the names of this library's modules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from torch import Tensor

from controlnet.architecture import Architecture, ControlConfig, TextConfig, UNetConfig, VAEConfig
from controlnet.checkpoint.detect import CROSS_ATTENTION
from controlnet.strict import CheckpointError

State = Mapping[str, Tensor]
Numbers = TypeVar("Numbers", UNetConfig, VAEConfig, TextConfig, ControlConfig)


def infer_architecture(
    *,
    unet: State,
    vae: State,
    text: State,
    control: State | None,
    like: Architecture,
    heads: int | None = None,
    text_heads: int | None = None,
    what: str,
) -> Architecture:
    """The numbers of all parts; attention heads are those of `like` where they are not given.

    A part whose telling keys are missing gets the numbers of `like`, so that the strict check that must follow can
    list everything that is missing.

    Raises:
        CheckpointError: The numbers contradict each other, or what `like` says of groups doesn't divide the widths.
    """
    try:
        vae_numbers = _told(lambda: infer_vae(vae, like.vae), like.vae)
        return Architecture(
            unet=_told(lambda: infer_unet(unet, like.unet, heads), like.unet),
            vae=vae_numbers,
            text=_told(lambda: infer_text(text, like.text, text_heads), like.text),
            control=_told(lambda: infer_control(control or {}), fitting_hint(like.control, vae_numbers)),
            schedule=like.schedule,
        )
    except ValueError as error:
        raise CheckpointError(
            f"{what} makes no architecture: {error}. (Heads and groups are not in the weights: give --like BUNDLE, "
            "a model that has the same ones, or for heads alone --heads and --text-heads.)"
        ) from error


def infer_unet(state: State, like: UNetConfig, heads: int | None = None) -> UNetConfig:
    """A UNet's numbers; a ControlNet's trunk will do, whose output is then taken to be its input.

    Raises:
        KeyError: A telling key is missing.
        ValueError: The levels are not alike, or not multiples of the first convolution's width.
    """
    width, in_channels = state["input_blocks.0.0.weight"].shape[:2]
    levels: list[list[int]] = [[]]  # widths of the residual blocks of each level
    attention: set[int] = set()
    last = max(int(key.split(".")[1]) for key in state if key.startswith("input_blocks."))
    for index in range(1, last + 1):
        if f"input_blocks.{index}.0.op.weight" in state:
            levels.append([])
            continue
        levels[-1].append(state[f"input_blocks.{index}.0.out_layers.3.weight"].shape[0])
        if f"input_blocks.{index}.1.proj_in.weight" in state:
            attention.add(1 << (len(levels) - 1))
    counts = {len(level) for level in levels}
    if len(counts) != 1 or 0 in counts or any(len(set(level)) > 1 or level[0] % width for level in levels):
        raise ValueError(
            f"the UNet has residual blocks of widths {levels}: each level must have as many as the others, "
            f"all of one width that is a multiple of {width}"
        )
    blocks = {key.split(".")[3] for key in state if key.startswith("middle_block.1.transformer_blocks.")}
    return replace(
        like,
        in_channels=in_channels,
        out_channels=state["out.2.weight"].shape[0] if "out.2.weight" in state else in_channels,
        model_channels=width,
        channel_mult=tuple(level[0] // width for level in levels),
        num_res_blocks=counts.pop(),
        attention_resolutions=like.attention_resolutions
        if set(like.attention_resolutions) == attention
        else tuple(sorted(attention, reverse=True)),
        num_heads=heads or like.num_heads,
        context_dim=state[f"middle_block.1.{CROSS_ATTENTION}"].shape[1],
        transformer_depth=len(blocks),
    )


def infer_control(state: State) -> ControlConfig:
    """The numbers of a ControlNet's hint encoder.

    Raises:
        KeyError: A telling key is missing.
    """
    numbers = sorted(
        int(key.split(".")[1]) for key in state if key.startswith("input_hint_block.") and key.endswith(".weight")
    )
    outputs = [state[f"input_hint_block.{number}.weight"].shape[0] for number in numbers]
    # Convolutions: in -> c0, then c0 -> c0 and c0 -> c1 (halving) a step, and at last to the trunk's width.
    return ControlConfig(
        hint_channels=tuple(outputs[:-1:2]),
        conditioning_channels=state["input_hint_block.0.weight"].shape[1],
    )


def infer_vae(state: State, like: VAEConfig) -> VAEConfig:
    """An autoencoder's numbers.

    Raises:
        KeyError: A telling key is missing.
        ValueError: A level's width isn't a multiple of the first convolution's.
    """
    channels, in_channels = state["encoder.conv_in.weight"].shape[:2]
    levels = 1 + max((int(key.split(".")[2]) for key in state if key.startswith("encoder.down.")), default=0)
    blocks = {key.split(".")[4] for key in state if key.startswith("encoder.down.0.block.")}
    z_channels, embed_dim = state["post_quant_conv.weight"].shape[:2]
    widths = [state[f"encoder.down.{level}.block.0.conv1.weight"].shape[0] for level in range(levels)]
    if any(width % channels for width in widths):
        raise ValueError(f"the VAE has levels of widths {widths}: they must be multiples of {channels}")
    return replace(
        like,
        in_channels=in_channels,
        channels=channels,
        channel_mult=tuple(width // channels for width in widths),
        num_res_blocks=len(blocks),
        z_channels=z_channels,
        embed_dim=embed_dim,
    )


def infer_text(state: State, like: TextConfig, heads: int | None = None) -> TextConfig:
    """A text encoder's numbers; the start and end tokens are the vocabulary's last two, as CLIP's always are.

    Raises:
        KeyError: A telling key is missing.
    """
    vocabulary, width = state["transformer.embeddings.token_embedding.weight"].shape
    layers = {key.split(".")[3] for key in state if key.startswith("transformer.encoder.layers.")}
    return replace(
        like,
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=state["transformer.encoder.layers.0.mlp.fc1.weight"].shape[0],
        num_hidden_layers=len(layers),
        num_attention_heads=heads or like.num_attention_heads,
        max_position_embeddings=state["transformer.embeddings.position_embedding.weight"].shape[0],
        bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1,
        pad_token_id=vocabulary - 1,
    )


def _told(infer: Callable[[], Numbers], otherwise: Numbers) -> Numbers:
    try:
        return infer()
    except KeyError:
        return otherwise


def fitting_hint(like: ControlConfig, vae: VAEConfig) -> ControlConfig:
    """A hint encoder for a model that came without control: that of `like`, cut or lengthened to the VAE's factor."""
    count = len(vae.channel_mult)
    widths = like.hint_channels + like.hint_channels[-1:] * count
    return replace(like, hint_channels=widths[:count])
