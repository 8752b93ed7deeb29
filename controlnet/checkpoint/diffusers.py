"""The names diffusers and transformers give to the same weights: one table a network, used in both directions.

A table maps module prefixes of this library (which are the original's) to those of diffusers; what follows the prefix
(`weight`, `bias`, or a transformer block's inner names, which are equal) stays. It is made from the network's numbers,
so any depth, width and placement of attention will do. (Section 2g of the mission's facts has it for SD 1.5.)
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from controlnet.architecture import ControlConfig, UNetConfig, VAEConfig
from controlnet.strict import refuse

Table = dict[str, str]

_RES_BLOCK = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_VAE_RES_BLOCK = {name: name for name in ("norm1", "conv1", "norm2", "conv2")} | {"nin_shortcut": "conv_shortcut"}
_VAE_ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}
_OLD_VAE_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def unet_table(config: UNetConfig) -> Table:
    """Prefixes of a UNet."""
    table = _trunk_table(config) | {"out.0": "conv_norm_out", "out.2": "conv_out"}
    index = 0
    for block, level in enumerate(reversed(range(len(config.channel_mult)))):
        attends = 2**level in config.attention_resolutions
        for j in range(config.num_res_blocks + 1):
            table |= _nested(f"output_blocks.{index}.0", f"up_blocks.{block}.resnets.{j}", _RES_BLOCK)
            if attends:
                table[f"output_blocks.{index}.1"] = f"up_blocks.{block}.attentions.{j}"
            if level > 0 and j == config.num_res_blocks:
                table[f"output_blocks.{index}.{1 + attends}"] = f"up_blocks.{block}.upsamplers.0"
            index += 1
    return table


def control_table(config: UNetConfig, control: ControlConfig) -> Table:
    """Prefixes of a ControlNet."""
    table = _trunk_table(config)
    for index in range(config.residuals - 1):
        table[f"zero_convs.{index}.0"] = f"controlnet_down_blocks.{index}"
    table["middle_block_out.0"] = "controlnet_mid_block"
    blocks = 2 * (len(control.hint_channels) - 1)  # convolutions between the first and the last; SiLUs have odd numbers
    table["input_hint_block.0"] = "controlnet_cond_embedding.conv_in"
    for index in range(blocks):
        table[f"input_hint_block.{2 * index + 2}"] = f"controlnet_cond_embedding.blocks.{index}"
    table[f"input_hint_block.{2 * blocks + 2}"] = "controlnet_cond_embedding.conv_out"
    return table


def vae_table(config: VAEConfig) -> Table:
    """Prefixes of an autoencoder. Its attention's projections differ in shape too: see `vae_to_diffusers`."""
    table = {"quant_conv": "quant_conv", "post_quant_conv": "post_quant_conv"}
    levels = len(config.channel_mult)
    for half in ("encoder", "decoder"):
        table |= {f"{half}.conv_in": f"{half}.conv_in", f"{half}.conv_out": f"{half}.conv_out"}
        table[f"{half}.norm_out"] = f"{half}.conv_norm_out"
        for i in (0, 1):
            table |= _nested(f"{half}.mid.block_{i + 1}", f"{half}.mid_block.resnets.{i}", _VAE_RES_BLOCK)
        table |= _nested(f"{half}.mid.attn_1", f"{half}.mid_block.attentions.0", _VAE_ATTENTION)
    for level in range(levels):
        up = levels - 1 - level  # diffusers numbers the decoder's levels in the order of running
        for j in range(config.num_res_blocks):
            table |= _nested(
                f"encoder.down.{level}.block.{j}", f"encoder.down_blocks.{level}.resnets.{j}", _VAE_RES_BLOCK
            )
        for j in range(config.num_res_blocks + 1):
            table |= _nested(f"decoder.up.{level}.block.{j}", f"decoder.up_blocks.{up}.resnets.{j}", _VAE_RES_BLOCK)
        if level < levels - 1:
            table[f"encoder.down.{level}.downsample"] = f"encoder.down_blocks.{level}.downsamplers.0"
        if level > 0:
            table[f"decoder.up.{level}.upsample"] = f"decoder.up_blocks.{up}.upsamplers.0"
    return table


def to_diffusers(state: Mapping[str, Tensor], table: Table, *, what: str) -> dict[str, Tensor]:
    """Rename a state dict of ours.

    Raises:
        CheckpointError: Keys that the table doesn't have, all listed.
    """
    return _rename(state, table, what)


def from_diffusers(state: Mapping[str, Tensor], table: Table, *, what: str) -> dict[str, Tensor]:
    """Rename a state dict of theirs.

    Raises:
        CheckpointError: Keys that the table doesn't have, all listed.
    """
    return _rename(state, {theirs: ours for ours, theirs in table.items()}, what)


def vae_to_diffusers(state: Mapping[str, Tensor], config: VAEConfig, *, what: str) -> dict[str, Tensor]:
    """Rename an autoencoder's state dict; attention's 1x1 convolutions [C,C,1,1] become linear layers [C,C]."""
    renamed = to_diffusers(state, vae_table(config), what=what)
    return {key: tensor[:, :, 0, 0] if _projects(key) else tensor for key, tensor in renamed.items()}


def vae_from_diffusers(state: Mapping[str, Tensor], config: VAEConfig, *, what: str) -> dict[str, Tensor]:
    """The inverse of `vae_to_diffusers`."""
    shaped = {key: tensor[:, :, None, None] if _projects(key) else tensor for key, tensor in state.items()}
    return from_diffusers(shaped, vae_table(config), what=what)


def modern_vae(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """An autoencoder's state dict of theirs with the names attention has had since diffusers 0.15, and its shapes."""
    modern = {}
    for key, tensor in state.items():
        head, _, tail = key.partition(".attentions.0.")
        old, _, kind = tail.partition(".")
        name = f"{head}.attentions.0.{_OLD_VAE_ATTENTION[old]}.{kind}" if old in _OLD_VAE_ATTENTION else key
        modern[name] = tensor[:, :, 0, 0] if _projects(name) and tensor.ndim == 4 else tensor
    return modern


def text_to_diffusers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a text encoder's state dict to what every version of transformers loads."""
    return {"text_model." + key.removeprefix("transformer."): tensor for key, tensor in state.items()}


def text_from_diffusers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse; names without `text_model.`, as transformers 5 writes them, and old `position_ids` are taken too."""
    named = {"transformer." + key.removeprefix("text_model."): tensor for key, tensor in state.items()}
    named.pop("transformer.embeddings.position_ids", None)
    return named


def _trunk_table(config: UNetConfig) -> Table:
    table = {
        "time_embed.0": "time_embedding.linear_1",
        "time_embed.2": "time_embedding.linear_2",
        "input_blocks.0.0": "conv_in",
        "middle_block.1": "mid_block.attentions.0",
    }
    table |= _nested("middle_block.0", "mid_block.resnets.0", _RES_BLOCK)
    table |= _nested("middle_block.2", "mid_block.resnets.1", _RES_BLOCK)
    index = 1
    for level in range(len(config.channel_mult)):
        if level > 0:
            table[f"input_blocks.{index}.0.op"] = f"down_blocks.{level - 1}.downsamplers.0.conv"
            index += 1
        for j in range(config.num_res_blocks):
            table |= _nested(f"input_blocks.{index}.0", f"down_blocks.{level}.resnets.{j}", _RES_BLOCK)
            if 2**level in config.attention_resolutions:
                table[f"input_blocks.{index}.1"] = f"down_blocks.{level}.attentions.{j}"
            index += 1
    return table


def _nested(ours: str, theirs: str, inner: Mapping[str, str]) -> Table:
    return {f"{ours}.{a}": f"{theirs}.{b}" for a, b in inner.items()}


def _projects(key: str) -> bool:
    """Whether a key of theirs is the weight of a projection in an autoencoder's attention."""
    head, _, tail = key.partition(".attentions.0.")
    return tail in ("to_q.weight", "to_k.weight", "to_v.weight", "to_out.0.weight") and head.endswith("mid_block")


def _rename(state: Mapping[str, Tensor], prefixes: Mapping[str, str], what: str) -> dict[str, Tensor]:
    renamed = {}
    unexpected = []
    for key, tensor in state.items():
        prefix = key.rpartition(".")[0]
        while prefix and prefix not in prefixes:
            prefix = prefix.rpartition(".")[0]
        if prefix:
            renamed[prefixes[prefix] + key.removeprefix(prefix)] = tensor
        else:
            unexpected.append(key)
    refuse(f"{what} has keys that its numbers leave no place for", unexpected=unexpected)
    return renamed
