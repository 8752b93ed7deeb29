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


_OF_A_VAE = ("first_stage_model.", "encoder.", "decoder.", "quant_conv.", "post_quant_conv.", "loss.")
_INPUTS = ("model.diffusion_model.input_blocks.0.0.weight", "input_blocks.0.0.weight", "conv_in.weight")
_KINDS_BY_CHANNELS: Mapping[int, str] = MappingProxyType({8: "an InstructPix2Pix model", 9: "an inpainting model"})


def _is_vae(keys: Collection[str]) -> bool:
    return all(key.startswith(_OF_A_VAE) for key in keys)


# More telling marks first: a control-LoRA, for instance, also has a ControlNet's keys.
_FOREIGN: tuple[tuple[str, Callable[[Collection[str]], bool]], ...] = (
    ("a control-LoRA (low-rank differences from a ControlNet)", lambda keys: "lora_controlnet" in keys),
    ("a ControlNet-LLLite", _any_holds("lllite")),
    (
        "a LoRA or LyCORIS (differences from a model's weights)",
        _any_holds("lora_down.", "lora_A.", "lora.down.", ".hada_w1_a", ".lokr_w1", ".oft_blocks"),
    ),
    ("a ControlNet Union (several conditions in one net)", _any_holds("control_add_embedding.", "task_embedding")),
    ("a difference ControlNet (its weights minus its base's)", lambda keys: "difference" in keys),
    (
        "a T2I-Adapter",
        _any_starts("body.0.in_conv.", "body.0.block1.", "body.0.resnets.", "adapter.body."),
    ),
    ("an embedding (textual inversion)", lambda keys: "emb_params" in keys or "string_to_param" in keys),
    ("an IP-Adapter", _any_starts("ip_adapter.", "image_proj.")),
    ("of a diffusion transformer (SD3, Flux)", _any_holds("joint_blocks.", "double_blocks.", "joint_transformer_")),
    ("of SDXL", _any_holds("label_emb.0.0.", "add_embedding.linear_1.", "conditioner.embedders.")),
    ("of SD2 (OpenCLIP text encoder)", _any_starts("cond_stage_model.model.")),
)


def refuse_foreign(state: Mapping[str, Tensor], *, what: str, part: bool = False) -> None:
    """Raise where the keys are those of a known kind of checkpoint that this library doesn't take.

    Args:
        state: All tensors.
        what: For the error.
        part: Whether it is one of several that make a model: only then may it be a VAE.

    Raises:
        CheckpointError: Names the kind.
    """
    alone = () if part else (("a VAE alone", _is_vae),)
    for name, marked in (*_FOREIGN, *alone):
        if marked(state.keys()):
            raise CheckpointError(f"{what} is {name}; only SD1 models and ControlNets of the original kind are taken.")
    for key in _INPUTS:
        channels = state[key].shape[1] if key in state and state[key].ndim == 4 else 0
        if channels in _KINDS_BY_CHANNELS:
            raise CheckpointError(
                f"{what} is {_KINDS_BY_CHANNELS[channels]} (its UNet reads {channels} channels); "
                "only models that read a latent alone, 4 channels, are taken."
            )
    linear = [key for key, tensor in state.items() if key.endswith(".proj_in.weight") and tensor.ndim == 2]
    if linear:
        width = context_dim(state)
        raise CheckpointError(
            f"{what} is of {FAMILIES.get(width or 0, 'SD2')}: its transformers project by linear layers "
            f"({len(linear)}, the first is {min(linear)}); only SD1 models, which have 1x1 convolutions, are taken."
        )


def refuse_shuffle(*names: str) -> None:
    """Raise where a name is that of the v1.1 shuffle ControlNet, whose weights don't tell that it is one.

    It pools each of its outputs to one value, which this library's ControlNets don't; a folder's config says so, a
    file says nothing.

    Args:
        names: Of a file, of its control.

    Raises:
        CheckpointError: So it is.
    """
    for name in names:
        if "shuffle" in name.lower():
            raise CheckpointError(
                f"{name!r} is called as the shuffle ControlNet is, which is not taken: it pools its outputs "
                "(global_pool_conditions). If it is another one, give it another name."
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
