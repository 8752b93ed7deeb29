"""Whole runs of a model that fits in a test: compose, train, go on, export."""

import io
import json
import os
import re
import shutil
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from typer.testing import CliRunner

from controlnet.bundle import DEMO, Bundle, write_bundle
from controlnet.cli import app
from controlnet.generate import generate
from controlnet.pipeline import ImageSpec, Pipeline
from controlnet.training.export import export, parameters_of
from controlnet.training.run import _stopped, train
from controlnet.training.store import Summary, read_summary, read_weights
from tests.controlnet.training.conftest import TINY

# Lightning advises against few loader processes and few batches; SQLAlchemy and MLflow deprecate as they like.
pytestmark = pytest.mark.filterwarnings("ignore")


def test_an_interrupted_run_says_of_which_step_the_weights_beside_its_checkpoint_are(tmp_path):
    before = Summary(Bundle.open(DEMO).manifest.architecture, 12, 30.0, {})
    assert _stopped(43, 2000, tmp_path, before) == (
        f"Stopped after step 43 of 2000, which {tmp_path}/last.ckpt holds: the same command again goes on from there. "
        f"{tmp_path}/weights.safetensors is still of step 12."
    )


@pytest.fixture(scope="module")
def common(tmp_path_factory, parts_folder):
    folder = tmp_path_factory.mktemp("run")
    return [*TINY, f"folder={folder}", f"data.train={parts_folder}", "data.size=32"]


@pytest.fixture(scope="module")
def trained(common, tmp_path_factory):
    folder = train(["stage=vae", *common, "steps=4", "crop=16", "save_every=2"]).parent
    train(["stage=base", *common, "steps=2"])
    train(["stage=control", *common, "steps=2"])
    return folder


def test_an_interrupted_run_goes_on_at_its_step(common, trained):
    first = torch.load(trained / "vae" / "last.ckpt", weights_only=True)
    assert first["global_step"] == 4
    train(["stage=vae", *common, "steps=6", "crop=16", "save_every=2"])
    second = torch.load(trained / "vae" / "last.ckpt", weights_only=True)
    assert second["global_step"] == 6
    assert second["callbacks"]["EMACallback"]["updates"] == 6
    assert second["callbacks"]["Pace"]["seconds"] > first["callbacks"]["Pace"]["seconds"]
    assert read_summary(trained / "vae").steps == 6


@pytest.mark.parametrize("end", ["steps=3", "max_time=1e-6"])
def test_a_finished_run_is_not_trained_further(end, common, tmp_path):
    arguments = ["stage=vae", *common, f"folder={tmp_path}", "crop=16", "save_every=2", end]
    folder = train(arguments)
    steps, weights = read_summary(folder).steps, read_weights(folder, "vae")
    loss = read_summary(folder).metrics["loss"]
    train(arguments)
    assert read_summary(folder).metrics["loss"] == loss
    assert read_summary(folder).steps == steps == torch.load(folder / "last.ckpt", weights_only=True)["global_step"]
    assert all(torch.equal(weights[key], value) for key, value in read_weights(folder, "vae").items())


def test_a_run_leaves_grids_and_its_numbers(trained):
    assert [file.name for file in (trained / "control-canny" / "grids").iterdir()] == ["000002.png"]
    summary = json.loads((trained / "control-canny" / "summary.json").read_text())
    assert summary["steps"] == 2
    assert 0 <= summary["metrics"]["canny_f1_train"] <= 1  # none was held out
    assert summary["metrics"]["loss"] > 0


def test_a_run_is_exported_as_a_bundle_that_makes_pictures(trained, tmp_path):
    created = datetime(2026, 1, 1, tzinfo=UTC)
    bundle = export(
        trained, tmp_path / "bundle", name="tiny", version="1", metrics={"psnr": 1.0}, training_data="none",
        created=created, size=32,
    )  # fmt: skip
    pipeline = Pipeline.load(bundle)
    picture = generate(pipeline, [ImageSpec("a brass gear", 32, 32, steps=2)])[0]
    assert picture.shape == (32, 32, 3)


def test_a_stage_that_no_mlflow_saw_tells_its_parameters_itself(trained):
    told = parameters_of(trained / "vae", None)
    assert (told["settings"]["optimizer"], told["data"]["pictures"]) == ("muon", 8)


def test_a_control_that_no_annotator_is_named_for_is_exported_for_maps_that_are_sent(trained, tmp_path):
    shutil.copytree(trained / "control-canny", trained / "control-mine")
    bundle = export(
        trained, tmp_path / "bundle", name="tiny", version="1", metrics={}, training_data="none",
        created=datetime(2026, 1, 1, tzinfo=UTC), controls=("mine",), size=32,
    )  # fmt: skip
    assert bundle.manifest.controls["mine"].annotator == "none"


@pytest.fixture(scope="module")
def base(trained, tmp_path_factory):
    return export(
        trained, tmp_path_factory.mktemp("base") / "bundle", name="tiny", version="1", metrics={"psnr": 1.0},
        training_data={"base": "by hand"}, created=datetime(2026, 1, 1, tzinfo=UTC), size=32,
    )  # fmt: skip


@pytest.fixture(scope="module")
def mine(common, base, tmp_path_factory):
    """Overrides of a control on that bundle, which is trained for two steps."""
    rest = [*common, f"folder={tmp_path_factory.mktemp('mine')}", f"bundle={base.folder}", "name=mine", "threads=1"]
    overrides = ["stage=control", *rest]
    train([*overrides, "steps=2"])
    return overrides


def folder_of(overrides):
    return Path(next(value for value in overrides[::-1] if value.startswith("folder=")).removeprefix("folder="))


def imported(weights, target, base, *options):
    arguments = ["import", str(weights), str(target), "--base", str(base.folder), "--control", "mine", *options]
    result = CliRunner().invoke(app, [*arguments, "--name", "both", "--licence", "CC0-1.0"])
    assert result.exit_code == 0, result.output
    return Bundle.open(target)


def test_a_control_trained_on_a_bundle_is_imported_into_it(mine, base, tmp_path):
    made = imported(folder_of(mine) / "control-mine" / "weights.safetensors", tmp_path / "made", base)
    assert set(Pipeline.load(made).controls) == {"canny", "mine"}


def test_an_imported_control_tells_what_it_was_trained_on_and_its_base_tells_the_rest(mine, base, tmp_path):
    weights = shutil.copy(folder_of(mine) / "control-mine" / "weights.safetensors", tmp_path / "moved.safetensors")
    manifest = imported(weights, tmp_path / "made", base).manifest
    told = manifest.training_data
    assert told["base"]["bundle"] == told["control-mine"]["base"]["bundle"] == base.digest
    assert told["base"]["training_data"] == {"base": "by hand"}
    assert told["control-mine"]["settings"]["learning_rate"] == 0.001
    assert told["control-mine"]["data"]["pictures"] == 8
    assert told["control-mine"]["data"]["digest"].startswith("sha256:")
    assert told["control-mine"]["steps"] == 2
    assert set(manifest.metrics) == {"loss_mine", "loss_train_mine"}


def test_a_checkpoint_of_a_control_holds_the_control_alone(mine):
    kept = torch.load(folder_of(mine) / "control-mine" / "last.ckpt", weights_only=True)
    assert {key.split(".")[0] for key in kept["state_dict"]} == {"control"}


@pytest.fixture
def again(mine, tmp_path):
    """The trained control, in a folder to go on in."""
    shutil.copytree(folder_of(mine), tmp_path / "again")
    return [*mine, f"folder={tmp_path / 'again'}"]


def as_version_0_1(overrides, base):
    """Make the checkpoint what version 0.1 wrote: with the base's weights and Lightning's own callback."""
    file = folder_of(overrides) / "control-mine" / "last.ckpt"
    kept = torch.load(file, weights_only=True)
    for part in ("unet", "text"):
        state = load_file(base.path(f"{part}.safetensors"))
        kept["state_dict"] |= {f"{part}.{key}": weight.float() for key, weight in state.items()}
    del kept["base"]
    key = (
        "ModelCheckpoint{'monitor': None, 'mode': 'min', 'every_n_train_steps': 200, 'every_n_epochs': 0, "
        "'train_time_interval': None}"
    )
    kept["callbacks"][key] = {"last_model_path": str(file)}
    torch.save(kept, file)


def test_a_checkpoint_of_version_0_1_goes_on(again, mine, base, tmp_path):
    shutil.copytree(folder_of(mine), tmp_path / "new")
    as_version_0_1(again, base)
    old = train([*again, "steps=3"])
    new = train([*mine, f"folder={tmp_path / 'new'}", "steps=3"])
    wanted = read_weights(new, "control")
    assert all(torch.equal(weight, wanted[key]) for key, weight in read_weights(old, "control").items())


@pytest.mark.parametrize("old", [False, True])
def test_a_checkpoint_of_a_control_on_another_base_is_refused(old, again, base, tmp_path):
    if old:
        as_version_0_1(again, base)
    parts = {part: load_file(base.path(f"{part}.safetensors")) for part in ("unet", "vae", "text")}
    parts["unet"] = {key: weight * 0.5 for key, weight in parts["unet"].items()}
    other = write_bundle(
        tmp_path / "other", architecture=base.manifest.architecture, **parts, controls={}, name="tiny", version="2",
        tokenizer=base.path("tokenizer"), native_size=(32, 32), licence="CC0-1.0", training_data="none", metrics={},
        created=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"last\.ckpt was trained with another base: .* another folder="):
        train([*again, f"bundle={other.folder}", "steps=3"])


def test_an_extended_bundle_is_the_same_base(again, base, tmp_path):
    extended = imported(folder_of(again) / "control-mine" / "weights.safetensors", tmp_path / "made", base)
    folder = train([*again, f"bundle={extended.folder}", "steps=3"])
    assert read_summary(folder).steps == 3


def test_what_was_held_out_is_measured_under_that_name(again, parts_folder):
    folder = train([*again, f"data.held_out={parts_folder}", "steps=2"])
    assert set(read_summary(folder).metrics) == {"loss", "loss_held_out"}


def test_the_last_grid_is_sampled_once(again, monkeypatch):
    sampled = []
    monkeypatch.setattr(
        "controlnet.training.grids.generate",
        lambda pipeline, specs: sampled.append(len(specs)) or generate(pipeline, specs),
    )
    folder = train([*again, "steps=4", "show_every=2"])
    assert sampled == [8]
    assert (folder / "grids" / "000004.png").is_file()


def test_a_finished_run_tells_what_comes_next_and_nothing_of_the_library(again, capfd):
    console = Console(file=io.StringIO(), width=400)
    folder = train([*again, "steps=4", "log_every=1", "progress=true"], console)
    lines = console.file.getvalue().splitlines()
    assert re.fullmatch(r"step 3 of 4, loss 0\.\d{4}.*", lines[0])
    assert re.fullmatch(r"step 4 of 4, loss 0\.\d{4}.*", lines[1])
    assert re.fullmatch(r"control-mine: 4 steps in 0:\d\d:\d\d; loss_train 0\.\d+, loss 0\.\d+", lines[2])
    assert lines[3] == f"weights: {folder / 'weights.safetensors'}"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_gradients_are_clipped_under_mixed_precision(optimizer, common, tmp_path):
    rest = [*common, f"folder={tmp_path}", "crop=16", "steps=1"]
    folder = train(["stage=vae", *rest, "precision=bf16-mixed", f"optimizer={optimizer}"])
    assert read_summary(folder).steps == 1


def test_mlflow_gets_parameters_metrics_and_grids(common, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    telemetry = ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK")
    for variable in telemetry:
        monkeypatch.delenv(variable, raising=False)
    rest = [value for value in common if not value.startswith("folder=")]
    database = tmp_path / "mlflow.db"
    train(
        ["stage=vae", *rest, f"folder={tmp_path}", "steps=1", "crop=16", f"mlflow=sqlite:///{database}", "log_every=1"]
    )
    assert [os.environ[variable] for variable in telemetry] == ["true", "true"]
    with sqlite3.connect(database) as connection:
        assert connection.execute("select count(*) from params where key = 'learning_rate'").fetchone() == (1,)
        keys = {key for (key,) in connection.execute("select key from metrics")}
        tags = dict(connection.execute("select key, value from experiment_tags"))
    assert {"loss", "rate", "psnr_train"} <= keys
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    assert list(tmp_path.rglob("artifacts/grids/000001.png"))


def test_fewer_pictures_than_a_batch_are_refused(common, tmp_path):
    with pytest.raises(ValueError, match=r"8 pictures, too few for one batch of 9 in each of 1 processes"):
        train(["stage=vae", *common, f"folder={tmp_path}", "crop=16", "batch=9"])


def test_an_accelerator_that_is_not_there_is_refused(common, tmp_path):
    with pytest.raises(ValueError, match="accelerator"):
        train(["stage=vae", *common, f"folder={tmp_path}", "crop=16", "accelerator=none"])


def test_a_stage_names_the_one_it_needs(tmp_path, parts_folder):
    with pytest.raises(FileNotFoundError, match="train stage=vae first"):
        train(["stage=base", *TINY, f"folder={tmp_path}", f"data.train={parts_folder}"])


def test_a_stage_that_lacks_a_part_says_what_it_has(trained):
    with pytest.raises(ValueError, match="holds no control; it holds vae"):
        read_weights(trained / "vae", "control")
