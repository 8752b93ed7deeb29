"""A bundle becomes a run folder again, and its stages go on from its weights."""

import json
from datetime import UTC, datetime

import pytest
import torch
from safetensors.torch import load_file

from controlnet.bundle import ControlWeights
from controlnet.checkpoint import extend_bundle
from controlnet.training.export import export
from controlnet.training.run import train
from controlnet.training.store import read_summary, read_weights
from controlnet.training.unpack import unpack
from tests.controlnet.training.conftest import TINY

pytestmark = pytest.mark.filterwarnings("ignore")  # as in test_run


@pytest.fixture(scope="module")
def common(parts_folder):
    return [*TINY, f"data.train={parts_folder}", "data.size=32", "steps=1", "learning_rate=0.0"]


@pytest.fixture(scope="module")
def bundle(common, tmp_path_factory):
    folder = tmp_path_factory.mktemp("first")
    for stage in ("vae", "base", "control"):
        train([f"stage={stage}", *common, f"folder={folder}", *(["crop=16"] if stage == "vae" else [])])
    data = {"base": {"steps": "1"}}
    created = datetime(2026, 1, 1, tzinfo=UTC)
    target = tmp_path_factory.mktemp("bundle") / "tiny"
    return export(folder, target, name="tiny", version="1", metrics={}, training_data=data, created=created, size=32)


STAGES = ("base", "control-canny", "control-mine")


def control_of(bundle):
    return load_file(bundle.path("controls/canny.safetensors"))


@pytest.fixture
def folder(bundle, tmp_path):
    unpack(bundle, tmp_path)
    return tmp_path


def test_stages_know_their_origin_and_how_they_were_trained(bundle, folder):
    assert read_summary(folder / "control-canny").origin == bundle.digest
    assert json.loads((folder / "base" / "parameters.json").read_text()) == {"steps": "1"}


def test_stages_of_an_extended_bundle_are_those_of_its_base(bundle, tmp_path):
    record = {"steps": 3}
    extended = extend_bundle(
        bundle, tmp_path / "extended", {"mine": ControlWeights(control_of(bundle), "none", {})}, name="both",
        version="1", licence="CC0-1.0", sources={"mine": record}, created=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    unpack(extended, tmp_path / "run")
    told = {name: json.loads((tmp_path / "run" / name / "parameters.json").read_text()) for name in STAGES}
    assert told == {"base": {"steps": "1"}, "control-canny": {}, "control-mine": record}


def test_a_stage_that_is_there_is_not_overwritten(bundle, folder):
    with pytest.raises(FileExistsError, match="vae, base, control-canny already"):
        unpack(bundle, folder)


@pytest.mark.parametrize(("stage", "module"), [("base", "unet"), ("control", "control")])
def test_a_stage_goes_on_from_the_weights_of_the_bundle(stage, module, common, folder, bundle):
    name = "control-canny" if stage == "control" else stage
    unpacked = read_weights(folder / name, module)
    trained = train(
        [f"stage={stage}", *common, f"folder={folder}", *(["fresh_rate=0.0"] if stage == "control" else [])]
    )
    for key, value in read_weights(trained, module).items():
        torch.testing.assert_close(value, unpacked[key])
    assert read_summary(trained).origin == bundle.digest


def test_a_locked_encoder_keeps_the_scale_of_the_latents(common, folder):
    scale = read_summary(folder / "vae").architecture.vae.scale_factor
    train(["stage=vae", *common, f"folder={folder}", "crop=16", "lock_encoder=true"])
    assert read_summary(folder / "vae").architecture.vae.scale_factor == scale
