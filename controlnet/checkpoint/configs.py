"""Writing the JSON files that lie beside the weights in a diffusers folder; `settings` reads them.

Naming traps: `attention_head_dim` is the number of heads (diffusers keeps the misnomer for its files' sake), and our
`attention_resolutions` become types of blocks, one a level.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from controlnet.architecture import Architecture, ControlConfig, ScheduleConfig, TextConfig, UNetConfig, VAEConfig
from controlnet.strict import CheckpointError

DIFFUSERS_VERSION = "0.42.1"  # the one the tests compare with; older ones read the same keys

WEIGHTS = "diffusion_pytorch_model.safetensors"

# Types of blocks (down, up) with and without attention, and names of predictions: ours -> theirs.
ATTENDING, PLAIN = ("CrossAttnDownBlock2D", "CrossAttnUpBlock2D"), ("DownBlock2D", "UpBlock2D")
PREDICTIONS = {"eps": "epsilon", "v": "v_prediction"}


def refuse_unwritable(architecture: Architecture) -> None:
    """Raise where diffusers' configs can't express the numbers.

    Raises:
        CheckpointError: Lists all that is at fault.
    """
    faults = []
    if architecture.unet.channel_mult[0] != 1:
        faults.append(f"unet.channel_mult starts with {architecture.unet.channel_mult[0]}, not 1")
    if architecture.vae.channel_mult[0] != 1:
        faults.append(f"vae.channel_mult starts with {architecture.vae.channel_mult[0]}, not 1")
    if architecture.vae.z_channels != architecture.vae.embed_dim:
        faults.append(f"vae.z_channels is {architecture.vae.z_channels}, vae.embed_dim {architecture.vae.embed_dim}")
    if faults:
        raise CheckpointError(f"diffusers has no place for this architecture: {'; '.join(faults)}.")


def unet_config(config: UNetConfig, sample_size: Sequence[int]) -> dict[str, Any]:
    """`unet/config.json`; `sample_size` is the native latent's (height, width)."""
    levels = [2**level in config.attention_resolutions for level in range(len(config.channel_mult))]
    return (
        {
            "_class_name": "UNet2DConditionModel",
            "sample_size": _square(sample_size),
            "out_channels": config.out_channels,
        }
        | _trunk_config(config)
        | {"up_block_types": [(ATTENDING if attends else PLAIN)[1] for attends in reversed(levels)]}
    )


def control_config(config: UNetConfig, control: ControlConfig) -> dict[str, Any]:
    """`config.json` of a ControlNet."""
    return (
        {"_class_name": "ControlNetModel"}
        | _trunk_config(config)
        | {
            "conditioning_channels": control.conditioning_channels,
            "conditioning_embedding_out_channels": list(control.hint_channels),
            "controlnet_conditioning_channel_order": "rgb",
            "global_pool_conditions": False,
        }
    )


def vae_config(config: VAEConfig, sample_size: Sequence[int]) -> dict[str, Any]:
    """`vae/config.json`; `sample_size` is the native picture's (height, width)."""
    levels = len(config.channel_mult)
    return {
        "_class_name": "AutoencoderKL",
        "_diffusers_version": DIFFUSERS_VERSION,
        "act_fn": "silu",
        "block_out_channels": [multiple * config.channels for multiple in config.channel_mult],
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "in_channels": config.in_channels,
        "latent_channels": config.embed_dim,
        "layers_per_block": config.num_res_blocks,
        "norm_num_groups": config.norm_groups,
        "out_channels": config.in_channels,
        "sample_size": max(sample_size),
        "scaling_factor": config.scale_factor,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
    }


def text_config(config: TextConfig) -> dict[str, Any]:
    """`text_encoder/config.json`, of transformers."""
    return {
        "architectures": ["CLIPTextModel"],
        "attention_dropout": 0.0,
        "bos_token_id": config.bos_token_id,
        "dtype": "float32",  # transformers would take the file's, diffusers takes this one for its own parts
        "eos_token_id": config.eos_token_id,
        "hidden_act": config.hidden_act,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "layer_norm_eps": 1e-5,
        "max_position_embeddings": config.max_position_embeddings,
        "model_type": "clip_text_model",
        "num_attention_heads": config.num_attention_heads,
        "num_hidden_layers": config.num_hidden_layers,
        "pad_token_id": config.pad_token_id,
        "projection_dim": config.hidden_size,
        "vocab_size": config.vocab_size,
    }


def tokenizer_config(config: TextConfig) -> dict[str, Any]:
    """`tokenizer/tokenizer_config.json`, of transformers."""
    return special_tokens() | {
        "do_lower_case": True,
        "errors": "replace",
        "model_max_length": config.max_position_embeddings,
        "tokenizer_class": "CLIPTokenizer",
    }


def special_tokens() -> dict[str, str]:
    """`tokenizer/special_tokens_map.json`, of transformers."""
    return {
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
    }


def scheduler_config(config: ScheduleConfig) -> dict[str, Any]:
    """`scheduler/scheduler_config.json`: DDIM with the settings that make it the original's (mission, 2e)."""
    return {
        "_class_name": "DDIMScheduler",
        "_diffusers_version": DIFFUSERS_VERSION,
        "beta_end": config.beta_end,
        "beta_schedule": "scaled_linear",
        "beta_start": config.beta_start,
        "clip_sample": False,
        "num_train_timesteps": config.timesteps,
        "prediction_type": PREDICTIONS[config.prediction],
        "set_alpha_to_one": False,
        "steps_offset": 1,
        "timestep_spacing": "leading",
        "trained_betas": None,
    }


def model_index() -> dict[str, Any]:
    """`model_index.json` of the base; every ControlNet pipeline takes the folder too, with its ControlNet given."""
    return {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": DIFFUSERS_VERSION,
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }


def _trunk_config(config: UNetConfig) -> dict[str, Any]:
    levels = [2**level in config.attention_resolutions for level in range(len(config.channel_mult))]
    return {
        "_diffusers_version": DIFFUSERS_VERSION,
        "act_fn": "silu",
        "attention_head_dim": config.num_heads,
        "block_out_channels": [multiple * config.model_channels for multiple in config.channel_mult],
        "cross_attention_dim": config.context_dim,
        "down_block_types": [(ATTENDING if attends else PLAIN)[0] for attends in levels],
        "downsample_padding": 1,
        "flip_sin_to_cos": True,
        "freq_shift": 0,
        "in_channels": config.in_channels,
        "layers_per_block": config.num_res_blocks,
        "mid_block_scale_factor": 1,
        "norm_eps": 1e-5,
        "norm_num_groups": config.norm_groups,
        "transformer_layers_per_block": config.transformer_depth,
        "use_linear_projection": False,
    }


def _square(size: Sequence[int]) -> int | list[int]:
    return size[0] if len(set(size)) == 1 else list(size)
