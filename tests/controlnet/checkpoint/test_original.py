"""The original's layout, to the last key of a real checkpoint."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from controlnet.architecture import SD15, ScheduleConfig
from controlnet.bundle import Bundle
from controlnet.checkpoint import export_original
from controlnet.checkpoint.imports import blank
from controlnet.checkpoint.infer import infer_architecture
from controlnet.checkpoint.original import EXTRA_KEYS, buffers, merge, split
from tests.controlnet.golden import layout as layouts
from tests.controlnet.golden.layout import Layout
from tests.controlnet.golden.sets import Golden


@pytest.fixture(scope="module")
def layout() -> Layout:
    return layouts.read(layouts.FULL)


def test_an_export_of_sd15_has_the_keys_and_shapes_of_the_original(layout: Layout) -> None:
    parts = {part: blank(part, SD15) for part in ("unet", "control", "vae", "text")}
    exported = merge(parts) | buffers(SD15.schedule, SD15.text.max_position_embeddings)
    assert {key: tuple(tensor.shape) for key, tensor in exported.items()} == layout


def test_sd15_is_inferred_from_the_originals_shapes(layout: Layout) -> None:
    state = {key: torch.empty(shape, device="meta") for key, shape in layout.items()}
    parts, strange = split(state)
    assert strange == {}
    inferred = infer_architecture(
        unet=parts["unet"],
        vae=parts["vae"],
        text=parts["text"],
        control=parts["control"],
        # Numbers that weights do tell are wrong here on purpose.
        like=replace(SD15, unet=replace(SD15.unet, channel_mult=(1,), attention_resolutions=(1,), num_res_blocks=9)),
        what="it",
    )
    assert inferred == SD15


def test_the_schedules_tables_are_those_the_original_stored(golden: Golden) -> None:
    stored, ours = load_file(golden.checkpoint), buffers(ScheduleConfig(), 77)
    assert ours.keys() - EXTRA_KEYS == set()
    for name, table in ours.items():
        # Stored as float16, with values below 6e-8 lost.
        expected = stored[name].to(table.dtype)
        torch.testing.assert_close(table.clamp(-65504, 65504), expected, rtol=1e-3, atol=1e-7)


def test_split_undoes_merge() -> None:
    parts = {part: {f"{part}.weight": torch.ones(1)} for part in ("unet", "control", "vae")}
    parts["text"] = {"transformer.final_layer_norm.bias": torch.ones(1)}
    assert split(merge(parts)) == (parts, {})


def test_what_belongs_to_no_part_is_given_apart() -> None:
    assert split({"betas": torch.ones(1), "lora.x": torch.ones(2)})[1].keys() == {"lora.x"}


def test_an_exported_file_holds_the_tables_at_full_precision(flat: Bundle, tmp_path: Path) -> None:
    stored = load_file(export_original(flat, None, tmp_path / "base.safetensors"))
    assert stored["alphas_cumprod"].dtype == torch.float32
    assert stored["alphas_cumprod"][951].item() == pytest.approx(0.00815505, rel=1e-5)
    assert stored["cond_stage_model.transformer.text_model.embeddings.position_ids"].tolist() == [list(range(20))]
