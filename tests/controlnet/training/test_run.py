"""Whole runs of a model that fits in a test: compose, train, go on, export."""

import json
import shutil
import sqlite3
from datetime import UTC, datetime

import pytest
import torch
from typer.testing import CliRunner

from controlnet.cli import app
from controlnet.generate import generate
from controlnet.pipeline import ImageSpec, Pipeline
from controlnet.training.export import export
from controlnet.training.run import read_config, train
from controlnet.training.store import read_summary, read_weights
from tests.controlnet.training.conftest import TINY

# Lightning advises against few loader processes and few batches; SQLAlchemy and MLflow deprecate as they like.
pytestmark = pytest.mark.filterwarnings("ignore")


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
    train(arguments)
    assert read_summary(folder).steps == steps == torch.load(folder / "last.ckpt", weights_only=True)["global_step"]
    assert all(torch.equal(weights[key], value) for key, value in read_weights(folder, "vae").items())


def test_a_run_leaves_grids_and_its_numbers(trained):
    assert [file.name for file in (trained / "control-canny" / "grids").iterdir()] == ["000002.png"]
    summary = json.loads((trained / "control-canny" / "summary.json").read_text())
    assert summary["steps"] == 2
    assert 0 <= summary["metrics"]["canny_f1"] <= 1


def test_a_run_is_exported_as_a_bundle_that_makes_pictures(trained, tmp_path):
    created = datetime(2026, 1, 1, tzinfo=UTC)
    bundle = export(
        trained, tmp_path / "bundle", name="tiny", version="1", metrics={"psnr": 1.0}, training_data="none",
        created=created, size=32,
    )  # fmt: skip
    pipeline = Pipeline.load(bundle)
    picture = generate(pipeline, [ImageSpec("a brass gear", 32, 32, steps=2)])[0]
    assert picture.shape == (32, 32, 3)


def test_a_control_that_no_annotator_is_named_for_is_exported_for_maps_that_are_sent(trained, tmp_path):
    shutil.copytree(trained / "control-canny", trained / "control-mine")
    bundle = export(
        trained, tmp_path / "bundle", name="tiny", version="1", metrics={}, training_data="none",
        created=datetime(2026, 1, 1, tzinfo=UTC), controls=("mine",), size=32,
    )  # fmt: skip
    assert bundle.manifest.controls["mine"].annotator == "none"


def test_a_control_trained_on_a_bundle_is_imported_into_it(common, trained, tmp_path):
    base, made = tmp_path / "bundle", tmp_path / "made"
    export(
        trained, base, name="tiny", version="1", metrics={}, training_data="none",
        created=datetime(2026, 1, 1, tzinfo=UTC), size=32,
    )  # fmt: skip
    rest = [*common, f"folder={tmp_path / 'mine'}", "steps=1"]
    folder = train(["stage=control", *rest, f"bundle={base}", "name=mine"])
    arguments = ["import", str(folder / "weights.safetensors"), str(made), "--base", str(base), "--control", "mine"]
    result = CliRunner().invoke(app, [*arguments, "--name", "both", "--licence", "CC0-1.0"])
    assert result.exit_code == 0, result.output
    assert set(Pipeline.load(made).controls) == {"canny", "mine"}


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_gradients_are_clipped_under_mixed_precision(optimizer, common, tmp_path):
    rest = [*common, f"folder={tmp_path}", "crop=16", "steps=1"]
    folder = train(["stage=vae", *rest, "precision=bf16-mixed", f"optimizer={optimizer}"])
    assert read_summary(folder).steps == 1


def test_mlflow_gets_parameters_metrics_and_grids(common, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rest = [value for value in common if not value.startswith("folder=")]
    database = tmp_path / "mlflow.db"
    train(
        ["stage=vae", *rest, f"folder={tmp_path}", "steps=1", "crop=16", f"mlflow=sqlite:///{database}", "log_every=1"]
    )
    with sqlite3.connect(database) as connection:
        assert connection.execute("select count(*) from params where key = 'learning_rate'").fetchone() == (1,)
        keys = {key for (key,) in connection.execute("select key from metrics")}
    assert {"loss", "rate", "psnr"} <= keys
    assert list(tmp_path.rglob("artifacts/grids/000001.png"))


def test_a_run_needs_a_stage_that_exists():
    with pytest.raises(ValueError, match="vae, base, control"):
        read_config(["stage=depth"])


def test_fewer_pictures_than_a_batch_are_refused(common, tmp_path):
    with pytest.raises(ValueError, match=r"0 whole batches of 9 for 1 processes.*smaller batch"):
        train(["stage=vae", *common, f"folder={tmp_path}", "crop=16", "batch=9"])


def test_a_stage_names_the_one_it_needs(tmp_path, parts_folder):
    with pytest.raises(FileNotFoundError, match="train stage=vae first"):
        train(["stage=base", *TINY, f"folder={tmp_path}", f"data.train={parts_folder}"])


def test_a_stage_that_lacks_a_part_says_what_it_has(trained):
    with pytest.raises(ValueError, match="holds no control; it holds vae"):
        read_weights(trained / "vae", "control")
