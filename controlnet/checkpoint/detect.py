"""Telling checkpoints apart by their keys, so that what can't be taken is refused by its name.

What other programs sniff for the same purpose is listed in sections 2f and 2g of the mission's facts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType

from torch import Tensor

from controlnet.strict import CheckpointError

FAMILIES: Mapping[int, str] = MappingProxyType({768: "SD1", 1024: "SD2", 2048: "SDXL"})
"""By the width of the text features that cross attention reads."""

CROSS_ATTENTION = "transformer_blocks.0.attn2.to_k.weight"


def _any_starts(*prefixes: str) -> Callable[[Collection[str]], bool]:
    return lambda keys: any(key.startswith(prefixes) for key in keys)


def _any_holds(*parts: str) -> Callable[[Collection[str]], bool]:
    return lambda keys: any(part in key for key in keys for part in parts)


# More telling marks first: a control-LoRA, for instance, also has a ControlNet's keys.
_FOREIGN: tuple[tuple[str, Callable[[Collection[str]], bool]], ...] = (
    ("a control-LoRA (low-rank differences from a ControlNet)", lambda keys: "lora_controlnet" in keys),
    ("a ControlNet-LLLite", _any_holds("lllite")),
    ("a LoRA", _any_holds("lora_down.", "lora_A.", "lora.down.", ".hada_w1_a")),
    ("a ControlNet Union (several conditions in one net)", _any_holds("control_add_embedding.", "task_embedding")),
    ("a difference ControlNet (its weights minus its base's)", lambda keys: "difference" in keys),
    (
        "a T2I-Adapter",
        _any_starts("body.0.in_conv.", "body.0.resnets.", "adapter.body."),
    ),
    ("an IP-Adapter", _any_starts("ip_adapter.", "image_proj.")),
    ("of a diffusion transformer (SD3, Flux)", _any_holds("joint_blocks.", "double_blocks.", "joint_transformer_")),
    ("of SDXL", _any_holds("label_emb.0.0.", "add_embedding.linear_1.", "conditioner.embedders.")),
    ("of SD2 (OpenCLIP text encoder)", _any_starts("cond_stage_model.model.")),
)


def refuse_foreign(state: Mapping[str, Tensor], *, what: str) -> None:
    """Raise where the keys are those of a known kind of checkpoint that this library doesn't take.

    Raises:
        CheckpointError: Names the kind.
    """
    for name, marked in _FOREIGN:
        if marked(state.keys()):
            raise CheckpointError(f"{what} is {name}; only SD1 models and ControlNets of the original kind are taken.")
    linear = [key for key, tensor in state.items() if key.endswith(".proj_in.weight") and tensor.ndim == 2]
    if linear:
        width = context_dim(state)
        raise CheckpointError(
            f"{what} is of {FAMILIES.get(width or 0, 'SD2')}: its transformers project by linear layers "
            f"({len(linear)}, the first is {min(linear)}); only SD1 models, which have 1x1 convolutions, are taken."
        )


def context_dim(state: Mapping[str, Tensor]) -> int | None:
    """Width of the text features that a UNet or a ControlNet reads, in any naming; None where it reads none."""
    widths = {tensor.shape[1] for key, tensor in state.items() if key.endswith(CROSS_ATTENTION) and tensor.ndim == 2}
    return min(widths, default=None)


def family(width: int) -> str:
    """The family's name for a width of text features: `SD1`, `SD2`, `SDXL`, or `custom`."""
    return FAMILIES.get(width, "custom")


def refuse_family(state: Mapping[str, Tensor], wanted: int, *, what: str) -> None:
    """Raise where a ControlNet reads another kind of text than its base.

    Args:
        state: The ControlNet's, in any naming.
        wanted: `UNetConfig.context_dim` of the base.
        what: For the error.

    Raises:
        CheckpointError: Names both families.
    """
    found = context_dim(state)
    if found is not None and found != wanted:
        raise CheckpointError(
            f"{what} is of family {family(found)} (text features {found} wide), "
            f"the base is of family {family(wanted)} ({wanted} wide)."
        )
