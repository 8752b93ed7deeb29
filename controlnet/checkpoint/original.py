"""The original's checkpoints: one flat state dict, a prefix a part.

Names are the same as in this library's modules, so there is no table of keys, only one of prefixes. The text encoder
is the exception: transformers 5 dropped `text_model.` from its names, the files have it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from controlnet.architecture import ScheduleConfig
from controlnet.diffusion import Schedule

PREFIXES: Mapping[str, str] = MappingProxyType(
    {
        "unet": "model.diffusion_model.",
        "control": "control_model.",
        "vae": "first_stage_model.",
        "text": "cond_stage_model.",
    }
)

TEXT_MODEL = "transformer.text_model."

# Known extras, dropped by name: what can be computed, copies kept for training, a discriminator.
EXTRA_KEYS = frozenset(
    {
        "betas",
        "alphas_cumprod",
        "alphas_cumprod_prev",
        "sqrt_alphas_cumprod",
        "sqrt_one_minus_alphas_cumprod",
        "log_one_minus_alphas_cumprod",
        "sqrt_recip_alphas_cumprod",
        "sqrt_recipm1_alphas_cumprod",
        "posterior_variance",
        "posterior_log_variance_clipped",
        "posterior_mean_coef1",
        "posterior_mean_coef2",
        "logvar",
        "lvlb_weights",
        "cond_stage_model.logit_scale",
        "cond_stage_model.transformer.text_model.embeddings.position_ids",
        "cond_stage_model.transformer.embeddings.position_ids",
    }
)
EXTRA_PREFIXES = ("model_ema.", "first_stage_model.loss.")

# What a checkpoint of a ControlNet alone has without its prefix.
STRIPPED_CONTROL = "input_hint_block.0.weight"


def split(state: Mapping[str, Tensor]) -> tuple[dict[str, dict[str, Tensor]], dict[str, Tensor]]:
    """Sort a checkpoint's tensors by part, under the names of this library's modules.

    Args:
        state: A full checkpoint, or any of its parts. (A ControlNet without prefix needs no splitting.)

    Returns:
        Of `unet`, `control`, `vae` and `text` those parts that there are; and what belongs to none.
    """
    parts: dict[str, dict[str, Tensor]] = {}
    strange = {}
    for key, tensor in state.items():
        if key in EXTRA_KEYS or key.startswith(EXTRA_PREFIXES):
            continue
        for part, prefix in PREFIXES.items():
            if key.startswith(prefix):
                name = key.removeprefix(prefix)
                if part == "text" and name.startswith(TEXT_MODEL):
                    name = "transformer." + name.removeprefix(TEXT_MODEL)
                parts.setdefault(part, {})[name] = tensor
                break
        else:
            strange[key] = tensor
    return parts, strange


def merge(parts: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The inverse of `split`: one flat state dict with prefixes."""
    merged = {}
    for part, state in parts.items():
        for key, tensor in state.items():
            name = TEXT_MODEL + key.removeprefix("transformer.") if part == "text" else key
            merged[PREFIXES[part] + name] = tensor
    return merged


def buffers(config: ScheduleConfig, positions: int) -> dict[str, Tensor]:
    """What else a full checkpoint holds: the schedule's tables, float32 [timesteps], and the text's positions.

    The original loads strictly in places, so they can't be left out. The tables are those of Ho et al. 2020,
    equations 4, 7 and 15, with its `logvar` of zeros, computed in float64.

    Args:
        config: The schedule.
        positions: Tokens of a text.
    """
    alphas_cumprod = Schedule(config).alphas_cumprod
    previous = torch.cat([torch.ones(1, dtype=torch.float64), alphas_cumprod[:-1]])
    alphas = alphas_cumprod / previous
    betas = 1.0 - alphas
    variance = betas * (1.0 - previous) / (1.0 - alphas_cumprod)
    tables = {
        "betas": betas,
        "alphas_cumprod": alphas_cumprod,
        "alphas_cumprod_prev": previous,
        "sqrt_alphas_cumprod": alphas_cumprod.sqrt(),
        "sqrt_one_minus_alphas_cumprod": (1.0 - alphas_cumprod).sqrt(),
        "log_one_minus_alphas_cumprod": (1.0 - alphas_cumprod).log(),
        "sqrt_recip_alphas_cumprod": (1.0 / alphas_cumprod).sqrt(),
        "sqrt_recipm1_alphas_cumprod": (1.0 / alphas_cumprod - 1.0).sqrt(),
        "posterior_variance": variance,
        # The first variance is zero; the original puts 1e-20 in its place.
        "posterior_log_variance_clipped": variance.clamp(min=1e-20).log(),
        "posterior_mean_coef1": betas * previous.sqrt() / (1.0 - alphas_cumprod),
        "posterior_mean_coef2": (1.0 - previous) * alphas.sqrt() / (1.0 - alphas_cumprod),
        "logvar": torch.zeros(config.timesteps),
    }
    position_ids = PREFIXES["text"] + TEXT_MODEL + "embeddings.position_ids"
    return {name: table.float() for name, table in tables.items()} | {position_ids: torch.arange(positions)[None]}
