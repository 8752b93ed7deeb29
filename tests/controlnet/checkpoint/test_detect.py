"""Kinds of checkpoints that aren't taken are refused by name."""

import pytest
import torch

from controlnet.checkpoint import CheckpointError
from controlnet.checkpoint.detect import context_dim, family, refuse_family, refuse_foreign

CROSS = "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"

FOREIGN = {
    "a control-LoRA": ["lora_controlnet", "input_blocks.0.0.weight", "input_hint_block.0.weight"],
    "a T2I-Adapter": ["body.0.in_conv.weight"],
    "a T2I-Adapter ": ["adapter.body.0.resnets.0.block1.weight"],
    "a T2I-Adapter  ": ["conv_in.weight", "body.0.block1.weight"],
    "an embedding": ["emb_params"],
    "a LoRA or LyCORIS ": ["lora_unet_x.lokr_w1"],
    "a VAE alone": ["decoder.conv_in.weight", "quant_conv.bias"],
    "a ControlNet Union": ["control_add_embedding.linear_1.bias", "label_emb.0.0.bias"],
    "a ControlNet-LLLite": ["lllite_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.down.0.weight"],
    "a difference ControlNet": ["difference", "control_model.zero_convs.0.0.weight"],
    "a LoRA": ["lora_unet_mid_block_attentions_0_proj_in.lora_down.weight"],
    "an IP-Adapter": ["image_proj.proj.weight", "ip_adapter.1.to_k_ip.weight"],
    "of SDXL": ["control_model.label_emb.0.0.bias"],
    "of SDXL ": ["add_embedding.linear_1.weight", "conv_in.weight"],
    "of SD2": ["cond_stage_model.model.token_embedding.weight"],
    "of a diffusion transformer": ["double_blocks.0.img_attn.proj.weight"],
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_kind_is_named(kind: str) -> None:
    with pytest.raises(CheckpointError, match=f"x is {kind.strip()}.*only SD1"):
        refuse_foreign({key: torch.ones(2) for key in FOREIGN[kind]}, what="x")


def test_a_vae_is_a_part_of_a_model() -> None:
    refuse_foreign({"decoder.conv_in.weight": torch.ones(2)}, what="x", part=True)


@pytest.mark.parametrize(("channels", "kind"), [(9, "an inpainting model"), (8, "an InstructPix2Pix model")])
@pytest.mark.parametrize("prefix", ["model.diffusion_model.", ""])
def test_a_model_that_reads_more_than_a_latent_is_named(channels: int, kind: str, prefix: str) -> None:
    state = {f"{prefix}input_blocks.0.0.weight": torch.ones(4, channels, 3, 3)}
    with pytest.raises(CheckpointError, match=rf"x is {kind} \(its UNet reads {channels} channels\)"):
        refuse_foreign(state, what="x")


@pytest.mark.parametrize(("width", "name"), [(1024, "SD2"), (2048, "SDXL"), (48, "SD2")])
def test_linear_projections_are_those_of_a_later_family(width: int, name: str) -> None:
    state = {"input_blocks.1.1.proj_in.weight": torch.ones(4, 4), CROSS: torch.ones(4, width)}
    with pytest.raises(CheckpointError, match=f"x is of {name}: its transformers project by linear layers"):
        refuse_foreign(state, what="x")


def test_sd1_is_not_foreign() -> None:
    refuse_foreign({"input_blocks.1.1.proj_in.weight": torch.ones(4, 4, 1, 1), CROSS: torch.ones(4, 768)}, what="x")


@pytest.mark.parametrize(
    "key", [CROSS, "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight", f"control_model.{CROSS}"]
)
def test_the_width_of_the_text_is_found_in_any_naming(key: str) -> None:
    assert context_dim({key: torch.ones(4, 768)}) == 768


def test_a_state_without_cross_attention_has_no_width() -> None:
    assert context_dim({"a": torch.ones(1)}) is None
    refuse_family({"a": torch.ones(1)}, 768, what="x")


@pytest.mark.parametrize(("width", "name"), [(768, "SD1"), (1024, "SD2"), (2048, "SDXL"), (128, "custom")])
def test_families_have_names(width: int, name: str) -> None:
    assert family(width) == name


def test_the_wrong_family_is_refused_with_both_names() -> None:
    with pytest.raises(CheckpointError, match=r"x is of family SDXL .*2048 wide.*family SD1 \(768 wide\)"):
        refuse_family({CROSS: torch.ones(4, 2048)}, 768, what="x")
