"""A bundle with a further control keeps everything else."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from controlnet.bundle import Bundle, ControlWeights, Defaults, write_bundle
from controlnet.checkpoint import extend_bundle

CREATED = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def base(flat: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    unet, vae, text = (load_file(flat.path(f"{part}.safetensors")) for part in ("unet", "vae", "text"))
    canny = load_file(flat.path("controls/canny.safetensors"))
    return write_bundle(
        tmp_path_factory.mktemp("base") / "b",
        architecture=flat.manifest.architecture,
        unet=unet,
        vae=vae,
        text=text,
        controls={"canny": (canny, "canny", {"low_threshold": 42.0}, "Edges of mine.")},
        tokenizer=flat.path("tokenizer"),
        name="base",
        version="1",
        native_size=(32, 16),
        licence="Apache-2.0",
        training_data="photographs",
        metrics={"psnr": 30.0},
        created=CREATED,
        defaults=Defaults(steps=7, guidance=3.0, negative_prompt="rust", sampler="euler"),
        dtype="bfloat16",
    )


@pytest.fixture(scope="module")
def extended(base: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    state = load_file(base.path("controls/canny.safetensors"))
    return extend_bundle(
        base,
        tmp_path_factory.mktemp("extended") / "b",
        {"mine": ControlWeights(state, "none", {})},
        name="both",
        version="2",
        licence="CC0-1.0",
        sources={"mine": "imported from mine.safetensors"},
        created=CREATED,
        metrics={"f1_mine": 0.5},
    )


def test_what_is_not_said_anew_is_the_bases(base: Bundle, extended: Bundle) -> None:
    old, new = base.manifest, extended.manifest
    for field in ("architecture", "native_size", "defaults"):
        assert getattr(new, field) == getattr(old, field), field
    assert new.controls["canny"] == old.controls["canny"]
    assert (new.name, new.version, new.licence) == ("both", "2", "CC0-1.0")


def test_the_bases_files_keep_their_bits(base: Bundle, extended: Bundle) -> None:
    new = extended.manifest.files
    assert {path: new[path] for path in base.manifest.files} == base.manifest.files
    dtypes = {tensor.dtype for tensor in load_file(extended.path("controls/mine.safetensors")).values()}
    assert dtypes == {torch.bfloat16}


def test_training_data_and_metrics_of_the_base_stay_the_bases(base: Bundle, extended: Bundle) -> None:
    of_base = {
        "name": "base",
        "version": "1",
        "bundle": base.digest,
        "metrics": {"psnr": 30.0},
        "training_data": "photographs",
    }
    assert extended.manifest.training_data == {"base": of_base, "control-mine": "imported from mine.safetensors"}
    assert extended.manifest.metrics == {"f1_mine": 0.5}


def test_a_native_size_can_be_said(base: Bundle, tmp_path: Path) -> None:
    made = extend_bundle(
        base, tmp_path / "b", {}, name="a", version="1", licence="x", sources={}, created=CREATED, native_size=(48, 48)
    )
    assert (made.manifest.native_size.width, made.manifest.native_size.height) == (48, 48)
