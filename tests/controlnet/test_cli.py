from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from controlnet.bundle import Bundle
from controlnet.checkpoint import export_diffusers, export_original
from controlnet.cli import app
from tests.controlnet.evaluation.conftest import bundle as bundle  # a fixture

runner = CliRunner()


def test_evaluate_measures_prints_and_writes(bundle: Bundle, tmp_path: Path) -> None:
    page = tmp_path / "model.md"
    arguments = ["evaluate", str(bundle.folder), "--count", "1", "--out", str(tmp_path / "out"), "--docs", str(page)]
    result = runner.invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "| edges followed, of the ceiling | 0.75 |" in result.output
    document = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert document["digest"] == bundle.digest
    assert document["metrics"]["judged"] == 1
    assert bundle.digest in page.read_text()


def test_evaluate_wants_a_control_that_takes_edges(bundle: Bundle) -> None:
    result = runner.invoke(app, ["evaluate", str(bundle.folder), "--control", "depth"])
    assert result.exit_code == 1
    assert "must be there and take canny maps" in " ".join(result.output.split())


def test_evaluate_logs_on_a_version_or_nowhere(bundle: Bundle) -> None:
    result = runner.invoke(app, ["evaluate", str(bundle.folder), "--model", "demo"])
    assert result.exit_code == 2


@pytest.mark.parametrize("content", ["{}", ""])
def test_evaluate_says_what_is_wrong_with_a_bundle(bundle: Bundle, tmp_path: Path, content: str) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(bundle.folder, folder)
    (folder / "bundle.json").write_text(content)
    result = runner.invoke(app, ["evaluate", str(folder)])
    assert result.exit_code == 1
    assert "bundle.json" in result.output


@pytest.fixture(scope="module")
def folder(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_diffusers(bundle, tmp_path_factory.mktemp("diffusers") / "pipeline")


def importing(source: Path, target: Path, *options: str) -> Result:
    return runner.invoke(
        app, ["import", str(source), str(target), "--name", "imported", "--licence", "CC0-1.0", *options]
    )


def test_import_gives_each_control_the_annotator_of_its_name(folder: Path, tmp_path: Path) -> None:
    result = importing(folder, tmp_path / "b", "--size", "32")
    assert result.exit_code == 0, result.output
    manifest = Bundle.open(tmp_path / "b").manifest
    assert {name: control.annotator for name, control in manifest.controls.items()} == {
        "canny": "canny",
        "depth": "none",
    }
    assert manifest.native_size.width == 32


def test_import_takes_a_variant_of_a_folder(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    for file in copy.rglob("*model.safetensors"):
        file.rename(file.with_suffix(".fp16.safetensors"))
    assert importing(copy, tmp_path / "b", "--variant", "fp16").exit_code == 0


def test_import_adds_a_control_to_a_base(folder: Path, bundle: Bundle, tmp_path: Path) -> None:
    options = ["--base", str(bundle.folder), "--control", "mine", "--annotator", "invert"]
    result = importing(folder / "controlnet_depth", tmp_path / "b", *options)
    assert result.exit_code == 0, result.output
    made = Bundle.open(tmp_path / "b").manifest
    assert made.controls["mine"].annotator == "invert"
    assert (made.controls["canny"], made.defaults) == (bundle.manifest.controls["canny"], bundle.manifest.defaults)


@pytest.mark.parametrize("prediction", ["eps", "v"])
def test_import_is_told_what_a_files_unet_predicts(
    prediction: str, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heads and groups are SD 1.5's on the command line, so a tiny file is given its own in their place."""
    monkeypatch.setattr("controlnet.architecture.SD15", bundle.manifest.architecture)
    file = export_original(bundle, "canny", tmp_path / "full.safetensors")
    words = str(bundle.path("tokenizer"))
    result = importing(file, tmp_path / "b", "--control", "canny", "--tokenizer", words, "--prediction", prediction)
    assert result.exit_code == 0, result.output
    assert Bundle.open(tmp_path / "b").manifest.architecture.schedule.prediction == prediction


def test_import_wants_a_name_for_a_files_control(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controlnet.architecture.SD15", bundle.manifest.architecture)
    file = export_original(bundle, "canny", tmp_path / "full.safetensors")
    result = importing(file, tmp_path / "b", "--tokenizer", str(bundle.path("tokenizer")))
    assert result.exit_code == 2
    assert "give it a name by --control" in plain(result.output)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--base", "BUNDLE"], "--base needs --control"),
        (["--base", "BUNDLE", "--control", "mine", "--tokenizer", "clip"], "--base brings its own tokenizer"),
        (["--prediction", "v"], "--prediction is for a whole model in one file"),
        (["--control", "canny"], "--control is for a file or with --base"),
    ],
)
def test_import_refuses_options_that_would_do_nothing(
    options: list[str], message: str, folder: Path, bundle: Bundle, tmp_path: Path
) -> None:
    result = importing(folder, tmp_path / "b", *(option.replace("BUNDLE", str(bundle.folder)) for option in options))
    assert result.exit_code == 2
    assert message in plain(result.output)


def test_import_refuses_an_annotator_that_there_is_not(folder: Path, tmp_path: Path) -> None:
    result = importing(folder, tmp_path / "b", "--annotator", "cany")
    assert result.exit_code == 2
    assert "--annotator 'cany' is unknown: choose from canny," in plain(result.output)


def test_import_refuses_a_variant_of_a_file(bundle: Bundle, tmp_path: Path) -> None:
    result = importing(bundle.path("unet.safetensors"), tmp_path / "b", "--variant", "fp16")
    assert "--variant is for folders" in plain(result.output)


def plain(output: str) -> str:
    """A message without its frame and line breaks."""
    return " ".join(output.replace("│", " ").split())


@pytest.fixture
def edges(tmp_path: Path) -> Path:
    """A ready map, twice as large as the model's own pictures."""
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[16:48, 24] = 255
    Image.fromarray(pixels).save(tmp_path / "edges.png")
    return tmp_path / "edges.png"


def generating(bundle: Bundle, output: Path, *options: str) -> Result:
    return runner.invoke(
        app, ["generate", "a gear", "-o", str(output), "-b", str(bundle.folder), "--steps", "1", *options]
    )


@pytest.mark.parametrize(("options", "size"), [((), (96, 64)), (("--resolution", "32"), (48, 32))])
def test_a_ready_map_decides_the_size_where_none_is_asked(
    bundle: Bundle, edges: Path, tmp_path: Path, options: tuple[str, ...], size: tuple[int, int]
) -> None:
    result = generating(bundle, tmp_path / "out.png", "-m", f"canny={edges}", *options)
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "out.png") as made:
        assert made.size == size
    assert ("was shrunk to 48x32" in plain(result.output)) is bool(options)


def test_a_map_of_16_bits_is_read_by_its_levels(tmp_path: Path) -> None:
    levels = (np.arange(256, dtype=np.uint16) * 257)[None].repeat(8, 0)
    Image.fromarray(levels).save(tmp_path / "depth.png")
    result = runner.invoke(app, ["annotate", "none", str(tmp_path / "depth.png"), str(tmp_path / "out.png")])
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "out.png") as made:
        assert np.asarray(made)[0, :, 0].tolist() == list(range(256))


@pytest.mark.parametrize(
    ("options", "output", "message"),
    [
        (["-c", "canny=none.png"], "out.png", "none.png: No such file"),
        (["-c", "canny=TEXT"], "out.png", "not a picture of a known kind"),
        (["-c", "canny"], "out.png", "'canny' is not NAME=VALUE"),
        (["-c", "pose=EDGES"], "out.png", "control 'pose' is not one of canny, depth"),
        (["-m", "canny=EDGES", "--resolution", "1"], "out.png", "resolution is 1"),
        (["--sampler", "euler_a"], "out.png", "'euler_a'"),
        ([], "none/out.png", "no folder: make it first"),
        ([], "out", "must end in .png"),
    ],
)
def test_a_mistake_is_told_in_a_sentence_before_the_work(
    bundle: Bundle, edges: Path, tmp_path: Path, options: list[str], output: str, message: str
) -> None:
    (tmp_path / "text.png").write_text("hello")
    told = [option.replace("EDGES", str(edges)).replace("TEXT", str(tmp_path / "text.png")) for option in options]
    result = generating(bundle, tmp_path / output, *told)
    assert result.exit_code == 2, result.output
    assert message in plain(result.output)
    assert isinstance(result.exception, SystemExit)  # no traceback


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("x.ckpt", (), "no pickle is written"),
        ("folder", ("--control", "canny"), "a folder has all controls"),
        ("there.safetensors", (), "is there already"),
    ],
)
def test_export_refuses_what_it_would_not_do(
    bundle: Bundle, tmp_path: Path, target: str, options: tuple[str, ...], message: str
) -> None:
    (tmp_path / "there.safetensors").touch()
    result = runner.invoke(app, ["export", str(bundle.folder), str(tmp_path / target), *options])
    assert result.exit_code == 2
    assert message in plain(result.output)
    assert (tmp_path / "there.safetensors").stat().st_size == 0


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["stage=control", "stepz=3"], "stage=control has no stepz: did you mean steps?"),
        (["stage=more"], "stage is more: give one of stage=vae"),
        (["stage=vae", "data.train=none"], "data.train is none, which has no meta.json"),
        (["stage=vae", "data.kind=pairs", "data.train=FOLDER"], "has 1 fault: line 1 is '[]'"),
        (["stage=base", "data.kind=pairs", "data.train=FOLDER"], "train stage=vae first"),
    ],
)
def test_a_mistake_in_training_is_told_in_a_sentence(overrides: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "prompt.json").write_text("[]")
    told = [override.replace("FOLDER", str(tmp_path)) for override in overrides]
    result = runner.invoke(app, ["train", *told, f"folder={tmp_path}"])
    assert result.exit_code == 1, result.output
    assert message in plain(result.output)
    assert isinstance(result.exception, SystemExit)


def test_train_shows_its_keys() -> None:
    result = runner.invoke(app, ["train", "--show", "stage=control", "seed=7"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert re.search(r"seed +7 +decides all chances", result.output)
    assert re.search(r"data\.train +required +folder of the pictures", result.output)


def test_trains_help_says_how_keys_are_listed() -> None:
    result = runner.invoke(app, ["train", "--help"])
    assert "controlnet train --show stage=control" in plain(result.output)


def test_training_without_its_packages_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "controlnet.training.config", None)  # as where hydra is missing
    result = runner.invoke(app, ["train", "stage=control"])
    assert result.exit_code == 1
    assert "pip install 'controlnet-platform[train]'" in plain(result.output)
