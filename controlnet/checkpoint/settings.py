"""Reading the JSON files that lie beside the weights in a diffusers folder; `configs` writes them.

What a config says beyond our numbers must be what our modules do. Everything that isn't is listed in one error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from controlnet.architecture import ControlConfig, ScheduleConfig, TextConfig, UNetConfig, VAEConfig
from controlnet.checkpoint.configs import ATTENDING, PLAIN, PREDICTIONS
from controlnet.strict import CheckpointError

Config = Mapping[str, Any]
Numbers = TypeVar("Numbers", UNetConfig, ControlConfig, VAEConfig, TextConfig, ScheduleConfig)

# key -> the only value our modules implement. A key that is absent has that value in diffusers too.
_TRUNK = {
    "act_fn": "silu",
    "addition_embed_type": None,
    "center_input_sample": False,
    "class_embed_type": None,
    "cross_attention_norm": None,
    "downsample_padding": 1,
    "dual_cross_attention": False,
    "encoder_hid_dim": None,
    "encoder_hid_dim_type": None,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "mid_block_only_cross_attention": None,
    "mid_block_scale_factor": 1,
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "norm_eps": 1e-5,
    "num_class_embeds": None,
    "only_cross_attention": False,
    "resnet_out_scale_factor": 1,
    "resnet_skip_time_act": False,
    "resnet_time_scale_shift": "default",
    "time_cond_proj_dim": None,
    "time_embedding_act_fn": None,
    "time_embedding_dim": None,
    "time_embedding_type": "positional",
    "timestep_post_act": None,
    "use_linear_projection": False,
}
_UNET = _TRUNK | {"attention_type": "default", "conv_in_kernel": 3, "conv_out_kernel": 3}
_CONTROL = _TRUNK | {"global_pool_conditions": False}
_VAE = {
    "act_fn": "silu",
    "latents_mean": None,
    "latents_std": None,
    "mid_block_add_attention": True,
    "shift_factor": None,
    "use_post_quant_conv": True,
    "use_quant_conv": True,
}
_TEXT = {"layer_norm_eps": 1e-5}
_SCHEDULER = {"beta_schedule": "scaled_linear", "rescale_betas_zero_snr": False, "trained_betas": None}


def read_unet(config: Config, what: str) -> UNetConfig:
    """The numbers of a UNet.

    Raises:
        CheckpointError: The config lacks numbers or asks for what our UNet doesn't do; all is listed.
    """
    reader = _Reader(config, what, [])
    reader.require(_UNET)
    numbers = _read_trunk(reader, reader.get("out_channels", 4))
    attends = [2**level in numbers["attention_resolutions"] for level in range(len(numbers["channel_mult"]))]
    expected = [(ATTENDING if level else PLAIN)[1] for level in reversed(attends)]
    reader.require({"up_block_types": expected})
    return _build(reader, UNetConfig, numbers)


def read_control(config: Config, what: str) -> tuple[UNetConfig, ControlConfig, bool]:
    """The numbers of a ControlNet, and whether it takes its hint's channels in the order blue, green, red.

    Raises:
        CheckpointError: The config lacks numbers or asks for what our ControlNet doesn't do; all is listed.
    """
    reader = _Reader(config, what, [])
    reader.require(_CONTROL)
    order = reader.get("controlnet_conditioning_channel_order", "rgb")
    if order not in ("rgb", "bgr"):
        reader.faults.append(f"controlnet_conditioning_channel_order is {order!r}, neither 'rgb' nor 'bgr'")
    numbers = _read_trunk(reader, reader.get("in_channels", 4))
    hint = {
        "hint_channels": tuple(reader.get("conditioning_embedding_out_channels", (16, 32, 96, 256))),
        "conditioning_channels": reader.get("conditioning_channels", 3),
    }
    return _build(reader, UNetConfig, numbers), _build(reader, ControlConfig, hint), order == "bgr"


def read_vae(config: Config, what: str) -> VAEConfig:
    """The numbers of an autoencoder.

    Raises:
        CheckpointError: The config lacks numbers or asks for what our VAE doesn't do; all is listed.
    """
    reader = _Reader(config, what, [])
    reader.require(_VAE)
    widths = reader.widths()
    reader.require({"down_block_types": ["DownEncoderBlock2D"] * len(widths)})
    reader.require({"up_block_types": ["UpDecoderBlock2D"] * len(widths)})
    reader.require({"out_channels": reader.get("in_channels", 3)})
    numbers = {
        "in_channels": reader.get("in_channels", 3),
        "channels": widths[0],
        "channel_mult": _multiples(reader, widths),
        "num_res_blocks": reader.get("layers_per_block", 1),
        "z_channels": reader.get("latent_channels", 4),
        "embed_dim": reader.get("latent_channels", 4),
        "norm_groups": reader.get("norm_num_groups", 32),
        "scale_factor": reader.get("scaling_factor", 0.18215),
    }
    return _build(reader, VAEConfig, numbers)


def read_text(config: Config, what: str, *, vocabulary: Mapping[str, int]) -> TextConfig:
    """The numbers of a text encoder.

    Args:
        config: `text_encoder/config.json`. Its token ids are not looked at: those of SD 1.5 are wrong.
        what: For the error.
        vocabulary: The tokenizer's, which has the right ones.

    Raises:
        CheckpointError: Numbers are missing, or it asks for what our text encoder doesn't do; all is listed.
    """
    reader = _Reader(config, what, [])
    reader.require(_TEXT)
    for token in ("<|startoftext|>", "<|endoftext|>"):
        if token not in vocabulary:
            reader.faults.append(f"its tokenizer's vocabulary lacks {token}")
    if config.get("hidden_act", "quick_gelu") not in ("quick_gelu", "gelu"):
        reader.faults.append(f"hidden_act is {config['hidden_act']!r}, neither 'quick_gelu' nor 'gelu'")
    numbers = {
        "vocab_size": reader.get("vocab_size", 49408),
        "hidden_size": reader.get("hidden_size", 512),
        "intermediate_size": reader.get("intermediate_size", 2048),
        "num_hidden_layers": reader.get("num_hidden_layers", 12),
        "num_attention_heads": reader.get("num_attention_heads", 8),
        "max_position_embeddings": reader.get("max_position_embeddings", 77),
        "hidden_act": reader.get("hidden_act", "quick_gelu"),
        "bos_token_id": vocabulary.get("<|startoftext|>", 0),
        "eos_token_id": vocabulary.get("<|endoftext|>", 0),
        "pad_token_id": vocabulary.get("<|endoftext|>", 0),
    }
    return _build(reader, TextConfig, numbers)


def read_schedule(config: Config, what: str) -> ScheduleConfig:
    """The numbers of a schedule, from the config of whichever scheduler the folder has.

    Raises:
        CheckpointError: Betas or predictions that our schedule doesn't have; all are listed.
    """
    reader = _Reader(config, what, [])
    reader.require(_SCHEDULER)
    kinds = {theirs: ours for ours, theirs in PREDICTIONS.items()}
    prediction = reader.get("prediction_type", "epsilon")
    if prediction not in kinds:
        reader.faults.append(f"prediction_type is {prediction!r}, none of {', '.join(kinds)}")
    numbers = {
        "timesteps": reader.get("num_train_timesteps", 1000),
        "beta_start": reader.get("beta_start"),
        "beta_end": reader.get("beta_end"),
        "prediction": kinds.get(prediction),
    }
    return _build(reader, ScheduleConfig, numbers)


def _read_trunk(reader: _Reader, out_channels: int) -> dict[str, Any]:
    widths = reader.widths()
    kinds = list(reader.get("down_block_types") or [])
    if len(kinds) != len(widths) or not set(kinds) <= {ATTENDING[0], PLAIN[0]}:
        reader.faults.append(f"down_block_types is {kinds}, not one of {ATTENDING[0]}, {PLAIN[0]} a level")
    if reader.config.get("num_attention_heads") not in (None, reader.config.get("attention_head_dim")):
        reader.faults.append("num_attention_heads differs from attention_head_dim, which means the same in these files")
    return {
        "in_channels": reader.get("in_channels", 4),
        "out_channels": out_channels,
        "model_channels": widths[0],
        "channel_mult": _multiples(reader, widths),
        "num_res_blocks": reader.one("layers_per_block", 2),
        "attention_resolutions": tuple(
            2**level for level in reversed(range(len(kinds))) if kinds[level] == ATTENDING[0]
        ),
        "num_heads": reader.one("attention_head_dim", 8),
        "context_dim": reader.get("cross_attention_dim", 1280),
        "transformer_depth": reader.one("transformer_layers_per_block", 1),
        "norm_groups": reader.get("norm_num_groups", 32),
    }


def _multiples(reader: _Reader, widths: Sequence[int]) -> tuple[int, ...]:
    if any(width % widths[0] for width in widths):
        reader.faults.append(f"block_out_channels is {list(widths)}, not all multiples of the first")
    return tuple(max(1, width // widths[0]) for width in widths)


@dataclass(slots=True)
class _Reader:
    """Reads a config and gathers what it can't take, so that one error lists everything."""

    config: Config
    what: str
    faults: list[str]

    def require(self, wanted: Config) -> None:
        for key, value in wanted.items():
            found = self.config.get(key, value)
            if found != value and (found or value):  # None and False mean the same here
                self.faults.append(f"{key} is {found!r}, not {value!r}")

    def get(self, key: str, default: object = ...) -> Any:  # noqa: ANN401 - JSON
        if key not in self.config and default is ...:
            self.faults.append(f"{key} is missing")
        return self.config.get(key, None if default is ... else default)

    def widths(self) -> list[int]:
        """The width of each level."""
        value = self.config.get("block_out_channels")
        if isinstance(value, list) and value and all(isinstance(width, int) and width > 0 for width in value):
            return value
        self.faults.append(f"block_out_channels is {value!r}, no list of widths")
        return [1]

    def one(self, key: str, default: int) -> int:
        """A number that may be given once a level, but must be the same for all."""
        value = self.config.get(key, default)
        values = set(value) if isinstance(value, Sequence) else {value}
        if len(values) != 1 or not isinstance(next(iter(values)), int):
            self.faults.append(f"{key} is {value!r}, which isn't one number for all levels")
            return default
        return int(values.pop())

    def finish(self) -> None:
        if self.faults:
            raise CheckpointError(f"{self.what} asks for what this library doesn't have: {'; '.join(self.faults)}.")


def _build(reader: _Reader, kind: type[Numbers], numbers: Mapping[str, Any]) -> Numbers:
    reader.finish()
    try:
        return kind(**numbers)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{reader.what} makes no {kind.__name__}: {error}.") from error
