"""Exports against what diffusers makes of them, and back."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from controlnet.bundle import DEMO, Bundle, write_bundle
from controlnet.checkpoint import CheckpointError, export_control, export_diffusers, export_original, import_diffusers
from controlnet.pipeline import Control, ImageSpec, Pipeline

diffusers = pytest.importorskip("diffusers")


def relative(found: Tensor, expected: Tensor) -> float:
    assert found.shape == expected.shape
    return float((found - expected).norm() / expected.norm())


@pytest.fixture(scope="module")
def folder(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_diffusers(bundle, tmp_path_factory.mktemp("exported") / "pipeline")


@pytest.fixture(scope="module")
def ours(bundle: Bundle) -> Pipeline:
    return Pipeline.load(bundle, dtype=torch.float32)


@pytest.fixture
def rows(bundle: Bundle) -> dict[str, Tensor]:
    numbers = bundle.manifest.architecture
    draw = torch.Generator().manual_seed(7)
    side = 2 * numbers.unet.downscale
    return {
        "x": torch.randn(3, 4, side, 2 * side, generator=draw),
        "t": torch.tensor([1, 500, 981]),
        "context": torch.randn(3, 20, 16, generator=draw),
        "hint": torch.rand(3, 3, side * numbers.vae.factor, 2 * side * numbers.vae.factor, generator=draw),
    }


@torch.inference_mode()
def test_the_unet_and_the_controlnets_compute_the_same_in_diffusers(
    folder: Path, ours: Pipeline, rows: dict[str, Tensor]
) -> None:
    unet = diffusers.UNet2DConditionModel.from_pretrained(folder, subfolder="unet").eval()
    for name, net in ours.controls.items():
        control = diffusers.ControlNetModel.from_pretrained(folder, subfolder=f"controlnet_{name}").eval()
        skips, middle = control(rows["x"], rows["t"], rows["context"], controlnet_cond=rows["hint"], return_dict=False)
        residuals = net(rows["x"], net.embed(rows["hint"]), rows["t"], rows["context"])
        for found, expected in zip(residuals, [*skips, middle], strict=True):
            assert relative(found, expected) < 1e-5
        theirs = unet(
            rows["x"],
            rows["t"],
            rows["context"],
            down_block_additional_residuals=list(skips),
            mid_block_additional_residual=middle,
        ).sample
        steered = ours.unet(rows["x"], rows["t"], rows["context"], residuals)
        assert relative(steered, theirs) < 1e-5
        plain = ours.unet(rows["x"], rows["t"], rows["context"])
        assert relative(plain, unet(rows["x"], rows["t"], rows["context"]).sample) < 1e-5
        assert relative(steered, plain) > 1e-3  # the control is connected


@torch.inference_mode()
def test_the_vae_computes_the_same_in_diffusers(folder: Path, ours: Pipeline, rows: dict[str, Tensor]) -> None:
    vae = diffusers.AutoencoderKL.from_pretrained(folder, subfolder="vae").eval()
    posterior, theirs = ours.vae.encode(rows["hint"] * 2 - 1), vae.encode(rows["hint"] * 2 - 1).latent_dist
    assert relative(posterior.mean, theirs.mean) < 1e-5
    assert relative(posterior.logvar, theirs.logvar) < 1e-5
    assert relative(ours.vae.decode(rows["x"]), vae.decode(rows["x"]).sample) < 1e-5
    assert vae.config.scaling_factor == ours.architecture.vae.scale_factor


@pytest.fixture(scope="module")
def theirs(folder: Path) -> object:
    control = diffusers.ControlNetModel.from_pretrained(folder, subfolder="controlnet_canny")
    pipeline = diffusers.StableDiffusionControlNetPipeline.from_pretrained(folder, controlnet=control)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@torch.inference_mode()
def test_the_exported_pipeline_samples_the_same_latents_with_ddim(theirs: object, ours: Pipeline) -> None:
    multiple = ours.architecture.multiple
    width, height = 4 * multiple, 2 * multiple
    hint = torch.rand(3, height, width, generator=torch.Generator().manual_seed(3))
    spec = ImageSpec(
        "a gear",
        width,
        height,
        negative_prompt="bar",
        steps=7,
        guidance=4.0,
        seed=11,
        controls=(Control("canny", hint, 0.8),),
    )
    [state] = ours.encode([spec])
    noise = state.latent
    while not state.done:
        [state] = ours.step([state])
    sampled = theirs(
        spec.prompt,
        image=hint[None],
        negative_prompt=spec.negative_prompt,
        num_inference_steps=spec.steps,
        guidance_scale=spec.guidance,
        controlnet_conditioning_scale=0.8,
        latents=noise[None],
        height=height,
        width=width,
        output_type="latent",
    ).images
    assert relative(state.latent[None], sampled) < 1e-4


@torch.inference_mode()
def test_the_exported_tokenizer_and_text_encoder_agree(theirs: object, ours: Pipeline) -> None:
    texts = ["a gear, ge ar", "", "word " * 30]
    ids = theirs.tokenizer(texts, padding="max_length", max_length=20, truncation=True, return_tensors="pt").input_ids
    assert torch.equal(ids, ours.tokenizer(texts))
    assert relative(ours.text(ids), theirs.text_encoder(ids).last_hidden_state) < 1e-5


@torch.inference_mode()
def test_weights_of_half_precision_run_in_diffusers_as_they_are_exported(tmp_path: Path) -> None:
    """Nobody who loads a folder names a dtype; every imported bundle is float16, and so is the shipped one."""
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(export_diffusers(Bundle.open(DEMO), tmp_path / "out"))
    pipeline.set_progress_bar_config(disable=True)
    made = pipeline("a gear", num_inference_steps=1, output_type="latent").images
    assert torch.isfinite(made).all()


def test_a_folder_comes_back_as_it_went(folder: Path, bundle: Bundle) -> None:
    imported = import_diffusers(folder)
    assert imported.architecture == bundle.manifest.architecture
    assert_states(imported, bundle)
    assert imported.tokenizer == folder / "tokenizer"


def test_a_folder_that_diffusers_wrote_is_taken(theirs: object, bundle: Bundle, tmp_path: Path) -> None:
    theirs.save_pretrained(tmp_path / "saved")
    imported = import_diffusers(tmp_path / "saved")
    assert imported.architecture == bundle.manifest.architecture
    assert set(imported.controls) == {"control"}
    written = write_bundle(
        tmp_path / "bundle",
        architecture=imported.architecture,
        unet=imported.unet,
        vae=imported.vae,
        text=imported.text,
        controls={"control": (imported.controls["control"], "canny", {})},
        tokenizer=imported.tokenizer,
        name="back",
        version="1",
        native_size=(64, 64),
        licence="",
        training_data="",
        metrics={},
        created=bundle.manifest.created,
    )
    again = Pipeline.load(written)
    assert torch.equal(again.tokenizer(["a gear", "é ge"]), Pipeline.load(bundle).tokenizer(["a gear", "é ge"]))
    canny = load_file(bundle.path("controls/canny.safetensors"))
    assert all(torch.equal(imported.controls["control"][key], canny[key]) for key in canny)
    text = load_file(bundle.path("text.safetensors"))
    assert imported.text.keys() == text.keys()
    assert all(torch.equal(imported.text[key], text[key]) for key in text)


def assert_states(imported: object, bundle: Bundle) -> None:
    parts = {f"{part}.safetensors": getattr(imported, part) for part in ("unet", "vae", "text")}
    parts |= {f"controls/{name}.safetensors": state for name, state in imported.controls.items()}
    assert {path for path in bundle.manifest.files if path.endswith(".safetensors")} == set(parts)
    for path, state in parts.items():
        stored = load_file(bundle.path(path))
        assert state.keys() == stored.keys()
        assert all(torch.equal(state[key], stored[key]) for key in stored), path


def test_the_text_weights_have_the_names_that_old_transformers_load(folder: Path) -> None:
    assert all(key.startswith("text_model.") for key in load_file(folder / "text_encoder" / "model.safetensors"))


def test_the_scheduler_is_the_originals(folder: Path, bundle: Bundle) -> None:
    config = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    prediction = {"eps": "epsilon", "v": "v_prediction"}[bundle.manifest.architecture.schedule.prediction]
    assert config["prediction_type"] == prediction
    assert (config["set_alpha_to_one"], config["steps_offset"], config["clip_sample"]) == (False, 1, False)


def test_sample_sizes_are_the_native_ones(folder: Path, bundle: Bundle) -> None:
    size, factor = bundle.manifest.native_size, bundle.manifest.architecture.vae.factor
    unet = json.loads((folder / "unet" / "config.json").read_text())
    np.testing.assert_array_equal(np.array(unet["sample_size"]) * factor, [size.height, size.width])


def test_a_folder_that_is_not_empty_is_left_alone(flat: Bundle, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(CheckpointError, match="is not empty"):
        export_diffusers(flat, tmp_path)


def test_a_file_that_is_there_is_left_alone(flat: Bundle, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_text("mine")
    for export in (lambda file: export_original(flat, None, file), lambda file: export_control(flat, "canny", file)):
        with pytest.raises(CheckpointError, match="is there already: choose another name, or remove it first"):
            export(tmp_path / "x.safetensors")
    assert (tmp_path / "x.safetensors").read_text() == "mine"


def test_what_is_exported_may_be_read_by_whoever_the_umask_says(flat: Bundle, tmp_path: Path) -> None:
    folder = export_diffusers(flat, tmp_path / "new" / "folder")
    file = export_control(flat, "canny", tmp_path / "other" / "x.safetensors")
    (tmp_path / "plain").touch()
    modes = {path.stat().st_mode for path in (file, *folder.rglob("*")) if path.is_file()}
    assert modes == {(tmp_path / "plain").stat().st_mode}


def test_an_unknown_control_is_refused_with_the_choices(flat: Bundle, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="control 'depth' is not in the bundle: choose from canny, sketch"):
        export_control(flat, "depth", tmp_path / "x.safetensors")


@pytest.mark.parametrize("name", ["model.ckpt", "model"])
def test_only_safetensors_are_written(flat: Bundle, tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match=r"does not end in \.safetensors"):
        export_original(flat, None, tmp_path / name)
