"""Imports: round trips, everything in the wild that is taken, and everything that is refused by name."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from controlnet.architecture import SD15, Architecture
from controlnet.bundle import DEMO, Bundle
from controlnet.checkpoint import (
    CheckpointError,
    export_control,
    export_diffusers,
    export_original,
    import_checkpoint,
    import_control,
    import_diffusers,
)
from controlnet.checkpoint.imports import blank
from tests.controlnet.golden.sets import Golden


def equal(state: dict[str, Tensor], file: Path) -> bool:
    stored = load_file(file)
    return state.keys() == stored.keys() and all(torch.equal(state[key], stored[key]) for key in stored)


def edited(file: Path, change: Callable[[dict[str, Tensor]], object], target: Path) -> Path:
    state = load_file(file)
    change(state)
    save_file(state, target)
    return target


@pytest.fixture(scope="module")
def full(flat: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_original(flat, "canny", tmp_path_factory.mktemp("original") / "full.safetensors")


@pytest.fixture(scope="module")
def control_file(flat: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_control(flat, "canny", tmp_path_factory.mktemp("original") / "control.safetensors")


@pytest.fixture(scope="module")
def folder(flat: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_diffusers(flat, tmp_path_factory.mktemp("diffusers") / "pipeline")


# --- full checkpoints in the original's layout


def test_a_full_checkpoint_comes_back_as_it_went(bundle: Bundle, like: Architecture, tmp_path: Path) -> None:
    file = export_original(bundle, "sketch", tmp_path / "full.safetensors")
    imported = import_checkpoint(file, like=like, control="sketch")
    assert imported.architecture == bundle.manifest.architecture
    for part in ("unet", "vae", "text"):
        assert equal(getattr(imported, part), bundle.path(f"{part}.safetensors"))
    assert equal(imported.controls["sketch"], bundle.path("controls/sketch.safetensors"))


def test_a_base_alone_comes_back_with_a_hint_encoder_that_fits(
    flat: Bundle, flat_like: Architecture, tmp_path: Path
) -> None:
    imported = import_checkpoint(export_original(flat, None, tmp_path / "base.safetensors"), like=flat_like)
    numbers = flat.manifest.architecture
    assert imported.controls == {}
    assert imported.architecture == replace(numbers, control=replace(numbers.control, hint_channels=(16, 32, 96)))


def test_a_checkpoint_of_the_original_is_taken_whole(golden: Golden) -> None:
    file, spec = golden.checkpoint, golden.spec
    like = replace(
        SD15,
        unet=replace(SD15.unet, num_heads=spec["unet"]["num_heads"]),
        text=replace(SD15.text, num_attention_heads=spec["text"]["num_attention_heads"]),
    )
    imported = import_checkpoint(file, like=like)
    numbers = imported.architecture
    assert list(numbers.unet.channel_mult) == spec["channel_mult"]
    assert (numbers.unet.model_channels, numbers.unet.context_dim) == (32, 48)
    assert numbers.unet.attention_resolutions == (4, 2, 1)
    assert (numbers.vae.channels, list(numbers.vae.channel_mult)) == (spec["vae_ch"], spec["vae_ch_mult"])
    assert {key: getattr(numbers.text, key) for key in spec["text"]} == spec["text"]
    assert numbers.control == SD15.control
    kept = sum(map(len, (imported.unet, imported.vae, imported.text, imported.controls["control"])))
    assert kept == len(load_file(file)) - 13 - 1  # the schedule's tables and position_ids


def test_copies_of_training_are_dropped(full: Path, flat: Bundle, flat_like: Architecture, tmp_path: Path) -> None:
    extras = {
        "model_ema.decay": torch.tensor(0.9),
        "model_ema.diffusion_modelout0bias": torch.ones(3),
        "lvlb_weights": torch.ones(1000),
        "first_stage_model.loss.logvar": torch.ones(()),
    }
    file = edited(full, lambda state: state.update(extras), tmp_path / "training.safetensors")
    assert equal(import_checkpoint(file, like=flat_like).unet, flat.path("unet.safetensors"))


def test_text_keys_without_text_model_are_taken(
    full: Path, flat: Bundle, flat_like: Architecture, tmp_path: Path
) -> None:
    def rename(state: dict[str, Tensor]) -> None:
        for key in [key for key in state if ".text_model." in key]:
            state[key.replace(".text_model.", ".")] = state.pop(key)

    file = edited(full, rename, tmp_path / "renamed.safetensors")
    assert equal(import_checkpoint(file, like=flat_like).text, flat.path("text.safetensors"))


def test_every_missing_unexpected_and_mis_shaped_key_is_listed(
    full: Path, flat_like: Architecture, tmp_path: Path
) -> None:
    def damage(state: dict[str, Tensor]) -> None:
        del state["model.diffusion_model.out.0.bias"]
        del state["first_stage_model.decoder.norm_out.weight"]
        del state["cond_stage_model.transformer.text_model.final_layer_norm.bias"]
        state["model.diffusion_model.surprise"] = torch.ones(1)
        state["who.knows"] = torch.ones(1)
        state["control_model.zero_convs.0.0.bias"] = torch.ones(2)
        state["model.diffusion_model.out.0.weight"] = torch.ones(8, dtype=torch.int64)

    with pytest.raises(CheckpointError) as error:
        import_checkpoint(edited(full, damage, tmp_path / "damaged.safetensors"), like=flat_like)
    assert str(error.value).splitlines()[1:] == [
        "  missing (3):",
        "    cond_stage_model.transformer.text_model.final_layer_norm.bias",
        "    first_stage_model.decoder.norm_out.weight",
        "    model.diffusion_model.out.0.bias",
        "  unexpected (2):",
        "    model.diffusion_model.surprise",
        "    who.knows",
        "  mis-shaped (1):",
        "    control_model.zero_convs.0.0.bias (2,), not (8,)",
        "  of another type (1):",
        "    model.diffusion_model.out.0.weight torch.int64, not torch.float32",
    ]


@pytest.mark.parametrize(
    "key",
    [
        "model.diffusion_model.input_blocks.0.0.weight",
        "model.diffusion_model.input_blocks.1.0.out_layers.3.weight",
        "first_stage_model.encoder.conv_in.weight",
        "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight",
        "control_model.input_hint_block.0.weight",
    ],
)
def test_a_missing_key_that_would_tell_a_number_is_listed_too(
    full: Path, flat: Bundle, tmp_path: Path, key: str
) -> None:
    file = edited(full, lambda state: state.pop(key), tmp_path / "damaged.safetensors")
    with pytest.raises(CheckpointError, match=f"missing \\(1\\):\n    {key}\n?"):
        import_checkpoint(file, like=flat.manifest.architecture)


def test_heads_that_do_not_divide_the_widths_are_refused(full: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"makes no architecture: .*norm_groups, which is 32.*give --like BUNDLE"):
        import_checkpoint(full, like=SD15)


def test_heads_may_be_given_apart(full: Path, flat_like: Architecture) -> None:
    numbers = import_checkpoint(full, like=flat_like, heads=4, text_heads=8).architecture
    assert (numbers.unet.num_heads, numbers.text.num_attention_heads) == (4, 8)


@pytest.mark.parametrize("name", ["control_v11e_sd15_shuffle.safetensors", "Shuffle.ckpt"])
def test_a_file_that_is_called_shuffle_is_refused_before_it_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("not looked at")
    for take in (import_checkpoint, lambda file: import_control(file, architecture=SD15)):
        with pytest.raises(CheckpointError, match="as the shuffle ControlNet is, which is not taken"):
            take(tmp_path / name)


def test_a_control_alone_is_no_full_checkpoint(control_file: Path) -> None:
    with pytest.raises(CheckpointError, match="holds a control and no model: give the model by --base BUNDLE"):
        import_checkpoint(control_file)


def test_a_folder_of_a_control_alone_is_no_pipeline(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="holds a control and no model: give the model by --base BUNDLE"):
        import_diffusers(folder / "controlnet_canny")


def test_a_base_without_its_vae_is_refused(full: Path, flat_like: Architecture, tmp_path: Path) -> None:
    def drop(state: dict[str, Tensor]) -> None:
        for key in [key for key in state if key.startswith("first_stage_model.")]:
            del state[key]

    with pytest.raises(CheckpointError, match="vae missing; it holds"):
        import_checkpoint(edited(full, drop, tmp_path / "half.safetensors"), like=flat_like)


# --- one ControlNet


def test_a_control_is_taken_from_every_layout(
    full: Path, control_file: Path, folder: Path, flat: Bundle, tmp_path: Path
) -> None:
    stripped = tmp_path / "stripped.safetensors"
    save_file({key.removeprefix("control_model."): value for key, value in load_file(control_file).items()}, stripped)
    sources = [full, control_file, stripped, folder / "controlnet_canny"]
    sources.append(folder / "controlnet_canny" / "diffusion_pytorch_model.safetensors")
    for source in sources:
        state = import_control(source, architecture=flat.manifest.architecture)
        assert equal(state, flat.path("controls/canny.safetensors")), source


def test_a_hint_in_the_order_blue_green_red_is_turned(folder: Path, flat: Bundle, tmp_path: Path) -> None:
    copy = shutil.copytree(folder / "controlnet_canny", tmp_path / "bgr")
    change_config(copy, controlnet_conditioning_channel_order="bgr")
    state = import_control(copy, architecture=flat.manifest.architecture)
    straight = load_file(flat.path("controls/canny.safetensors"))["input_hint_block.0.weight"]
    assert torch.equal(state["input_hint_block.0.weight"], straight[:, [2, 1, 0]])


def test_a_control_of_another_family_is_refused_by_both_names(flat: Bundle, tmp_path: Path) -> None:
    key = "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
    save_file({"input_hint_block.0.weight": torch.ones(1), key: torch.ones(4, 1024)}, tmp_path / "sd2.safetensors")
    with pytest.raises(CheckpointError, match=r"family SD2 \(text features 1024 wide\), the base is of family SD1"):
        import_control(tmp_path / "sd2.safetensors", architecture=SD15)
    with pytest.raises(CheckpointError, match=r"family SD2 .* the base is of family custom \(16 wide\)"):
        import_control(tmp_path / "sd2.safetensors", architecture=flat.manifest.architecture)


@pytest.mark.parametrize("layout", ["prefixed", "stripped", "diffusers"])
def test_a_damaged_control_is_refused_with_the_keys_of_its_file(
    control_file: Path, folder: Path, flat: Bundle, tmp_path: Path, layout: str
) -> None:
    state, key = {
        "prefixed": (load_file(control_file), "control_model.zero_convs.1.0.bias"),
        "stripped": (
            {name.removeprefix("control_model."): value for name, value in load_file(control_file).items()},
            "zero_convs.1.0.bias",
        ),
        "diffusers": (
            load_file(folder / "controlnet_canny" / "diffusion_pytorch_model.safetensors"),
            "controlnet_down_blocks.1.bias",
        ),
    }[layout]
    del state[key]
    save_file(state | {"odd.one": torch.ones(1)}, tmp_path / "damaged.safetensors")
    with pytest.raises(CheckpointError, match=rf"missing \(1\):\n    {key}\n  unexpected \(1\):\n    odd\.one$"):
        import_control(tmp_path / "damaged.safetensors", architecture=flat.manifest.architecture)


def test_a_file_without_control_is_refused(flat: Bundle, tmp_path: Path) -> None:
    file = export_original(flat, None, tmp_path / "base.safetensors")
    with pytest.raises(CheckpointError, match="holds no ControlNet; it holds unet, vae, text"):
        import_control(file, architecture=flat.manifest.architecture)


def test_a_control_for_other_numbers_is_refused(folder: Path, flat: Bundle) -> None:
    numbers = flat.manifest.architecture
    other = replace(numbers, unet=replace(numbers.unet, num_heads=4))
    with pytest.raises(CheckpointError, match=r"is for another model: .*num_heads=2.*; not .*num_heads=4"):
        import_control(folder / "controlnet_canny", architecture=other)


def test_a_control_of_the_shipped_bundle_comes_back_from_its_folder(tmp_path: Path) -> None:
    """Its attention resolutions are listed shallow first, those of a folder deep first."""
    demo = Bundle.open(DEMO)
    folder = export_diffusers(demo, tmp_path / "pipeline")
    state = import_control(folder / "controlnet_canny", architecture=demo.manifest.architecture)
    assert equal(state, demo.path("controls/canny.safetensors"))


# --- folders of diffusers (round trips are in test_exports)


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(folder, tmp_path / "copy")


def change_config(part: Path, name: str = "config.json", **entries: object) -> None:
    config = json.loads((part / name).read_text())
    (part / name).write_text(json.dumps(config | entries))


def test_shards_are_put_together(copy: Path, flat: Bundle) -> None:
    whole = copy / "unet" / "diffusion_pytorch_model.safetensors"
    state = load_file(whole)
    names = [f"diffusion_pytorch_model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    weight_map = {key: names[i % 2] for i, key in enumerate(state)}
    for name in names:
        save_file({key: state[key] for key, file in weight_map.items() if file == name}, copy / "unet" / name)
    whole.with_name(whole.name + ".index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    whole.unlink()
    assert equal(import_diffusers(copy).unet, flat.path("unet.safetensors"))


def test_an_index_that_leaves_its_folder_is_refused(copy: Path) -> None:
    whole = copy / "unet" / "diffusion_pytorch_model.safetensors"
    index = {"weight_map": {"a": "../vae/diffusion_pytorch_model.safetensors"}}
    whole.with_name(whole.name + ".index.json").write_text(json.dumps(index))
    whole.unlink()
    with pytest.raises(CheckpointError, match="points outside its folder"):
        import_diffusers(copy)


def test_a_variant_is_taken_by_its_name(copy: Path, flat: Bundle) -> None:
    for file in [*copy.rglob("diffusion_pytorch_model.safetensors"), *copy.rglob("model.safetensors")]:
        file.rename(file.with_suffix(".fp16.safetensors"))
    assert equal(import_diffusers(copy, variant="fp16").vae, flat.path("vae.safetensors"))
    with pytest.raises(CheckpointError, match="unet has no weights"):
        import_diffusers(copy)


def test_pickled_weights_are_taken(copy: Path, flat: Bundle) -> None:
    text = copy / "text_encoder" / "model.safetensors"
    state = load_file(text) | {"text_model.embeddings.position_ids": torch.arange(20)[None]}
    torch.save(state, copy / "text_encoder" / "pytorch_model.bin")
    text.unlink()
    assert equal(import_diffusers(copy).text, flat.path("text.safetensors"))


def test_old_names_of_the_vaes_attention_are_taken(copy: Path, flat: Bundle) -> None:
    file = copy / "vae" / "diffusion_pytorch_model.safetensors"
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    state = load_file(file)
    for key in [key for key in state if ".attentions.0.to_" in key]:
        head, tail = key.split(".attentions.0.")
        name, kind = tail.rsplit(".", 1)
        state[f"{head}.attentions.0.{old[name]}.{kind}"] = state.pop(key)
    save_file(state, file)
    assert equal(import_diffusers(copy).vae, flat.path("vae.safetensors"))


def test_controlnets_are_named_by_their_folders(copy: Path) -> None:
    shutil.copytree(copy / "controlnet_canny", copy / "controlnet")
    shutil.copytree(copy / "controlnet_canny", copy / "controlnet_1")
    assert sorted(import_diffusers(copy).controls) == ["canny", "control", "control_1", "sketch"]


def test_every_setting_that_is_not_supported_is_listed(copy: Path) -> None:
    change_config(copy / "unet", act_fn="gelu", class_embed_type="timestep", attention_head_dim=[1, 2, 4])
    with pytest.raises(CheckpointError, match=r"unet/config\.json asks for what this library doesn't have: ") as error:
        import_diffusers(copy)
    for fault in ("act_fn is 'gelu', not 'silu'", "class_embed_type is 'timestep'", r"attention_head_dim is [1, 2, 4]"):
        assert fault in str(error.value)


@pytest.mark.parametrize(
    ("part", "name", "entries", "message"),
    [
        ("unet", "config.json", {"block_out_channels": [8, 12, 24]}, "not all multiples of the first"),
        ("unet", "config.json", {"down_block_types": ["DownBlock2D"]}, "not one of CrossAttnDownBlock2D"),
        ("unet", "config.json", {"norm_num_groups": 3}, "makes no UNetConfig"),
        ("unet", "config.json", {"norm_num_groups": "4"}, "makes no UNetConfig"),
        ("unet", "config.json", {"block_out_channels": None}, "no list of widths"),
        ("vae", "config.json", {"use_quant_conv": False}, "use_quant_conv is False"),
        ("vae", "config.json", {"latents_mean": [0.1]}, "latents_mean is"),
        ("text_encoder", "config.json", {"hidden_act": "relu"}, "hidden_act is 'relu', neither"),
        ("text_encoder", "config.json", {"layer_norm_eps": 1e-6}, "layer_norm_eps is 1e-06"),
        ("text_encoder", "config.json", {"hidden_size": 32}, "must be equal"),
        ("scheduler", "scheduler_config.json", {"beta_schedule": "linear"}, "beta_schedule is 'linear'"),
        ("scheduler", "scheduler_config.json", {"prediction_type": "sample"}, "prediction_type is 'sample', none of"),
        ("scheduler", "scheduler_config.json", {"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr is True"),
        ("tokenizer", "tokenizer_config.json", {"pad_token": "!"}, "pads with '!'"),
        ("controlnet_canny", "config.json", {"global_pool_conditions": True}, "global_pool_conditions is True"),
        ("controlnet_canny", "config.json", {"num_attention_heads": 8}, "num_attention_heads differs"),
        (
            "controlnet_canny",
            "config.json",
            {"controlnet_conditioning_channel_order": "gbr"},
            "'gbr', neither 'rgb' nor 'bgr'",
        ),
        ("controlnet_canny", "config.json", {"conditioning_embedding_out_channels": [4, 8]}, "different hint encoders"),
    ],
)
def test_a_config_that_is_not_ours_is_refused(
    copy: Path, part: str, name: str, entries: dict[str, object], message: str
) -> None:
    change_config(copy / part, name, **entries)
    with pytest.raises(CheckpointError, match=message):
        import_diffusers(copy)


def test_a_tokenizer_of_another_model_is_refused(copy: Path) -> None:
    vocabulary = json.loads((copy / "tokenizer" / "vocab.json").read_text())
    (copy / "tokenizer" / "vocab.json").write_text(json.dumps(vocabulary | {"new": len(vocabulary)}))
    with pytest.raises(CheckpointError, match=r"does not fit the text encoder: it has 517 tokens, .* for 516; its ids"):
        import_diffusers(copy)


def test_damaged_weights_are_refused_with_diffusers_names(copy: Path) -> None:
    file = copy / "vae" / "diffusion_pytorch_model.safetensors"
    key = "decoder.up_blocks.0.resnets.0.conv1.bias"
    edited(file, lambda state: state.pop(key), file)
    with pytest.raises(CheckpointError, match=rf"vae does not fit the model:\n  missing \(1\):\n    {key}$"):
        import_diffusers(copy)


@pytest.mark.parametrize("path", ["unet", "vae", "text_encoder", "tokenizer/vocab.json", "scheduler"])
def test_a_missing_part_is_named(copy: Path, path: str) -> None:
    gone = copy / path
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    with pytest.raises(CheckpointError, match=path):
        import_diffusers(copy)


@pytest.mark.parametrize("text", ["{", "[]", ""])
def test_a_broken_config_is_named(copy: Path, text: str) -> None:
    (copy / "vae" / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"vae/config\.json (can't be read|holds no)"):
        import_diffusers(copy)


def test_blank_knows_its_parts() -> None:
    with pytest.raises(ValueError, match="part is 'lora': choose from unet, vae, text, control"):
        blank("lora", SD15)
