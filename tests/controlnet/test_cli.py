from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image
from safetensors.torch import load_file, save_file
from typer.main import get_group
from typer.testing import CliRunner

from controlnet import __version__
from controlnet.bundle import DEMO, Bundle
from controlnet.checkpoint import export_control, export_diffusers, export_original
from controlnet.checkpoint.card import FILE
from controlnet.cli import _device, app
from controlnet.generate import generate as sample
from controlnet.pipeline import ImageSpec, Pipeline
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


@pytest.fixture(scope="module")
def full(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole model in one file, as others make them: without a model card."""
    target = tmp_path_factory.mktemp("full")
    save_file(load_file(export_original(bundle, "canny", target / "ours.safetensors")), target / "full.safetensors")
    return target / "full.safetensors"


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
def test_import_is_told_what_a_files_unet_predicts(prediction: str, bundle: Bundle, full: Path, tmp_path: Path) -> None:
    options = ["--control", "canny", "--like", str(bundle.folder), "--prediction", prediction]
    result = importing(full, tmp_path / "b", *options)
    assert result.exit_code == 0, result.output
    assert Bundle.open(tmp_path / "b").manifest.architecture.schedule.prediction == prediction


def test_import_wants_a_name_for_a_files_control(bundle: Bundle, full: Path, tmp_path: Path) -> None:
    result = importing(full, tmp_path / "b", "--like", str(bundle.folder))
    assert result.exit_code == 2
    assert "give it a name by --control" in plain(result.output)


def test_import_copies_the_numbers_and_the_tokenizer_of_a_bundle_that_is_named(
    bundle: Bundle, full: Path, tmp_path: Path
) -> None:
    result = importing(full, tmp_path / "b", "--control", "canny", "--like", str(bundle.folder))
    assert result.exit_code == 0, result.output
    assert "Stable Diffusion 1.5" not in result.output
    made = Bundle.open(tmp_path / "b").manifest
    assert made.architecture == bundle.manifest.architecture
    assert made.files["tokenizer/vocab.json"] == bundle.manifest.files["tokenizer/vocab.json"]


def test_import_says_what_it_assumed_and_takes_heads(
    bundle: Bundle, full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tiny model's groups are its own; its heads are said."""
    numbers = bundle.manifest.architecture
    monkeypatch.setattr("controlnet.architecture.SD15", numbers)
    monkeypatch.setattr("controlnet.checkpoint.imports.SD15", numbers)
    options = ["--control", "canny", "--tokenizer", str(bundle.path("tokenizer")), "--heads", "1"]
    result = importing(full, tmp_path / "b", *options)
    assert result.exit_code == 0, result.output
    assert "2 heads in the text encoder (--text-heads), prediction v (--prediction), groups of 8" in result.output
    assert "(--heads)" not in result.output
    assert Bundle.open(tmp_path / "b").manifest.architecture.unet.num_heads == 1


def test_import_points_to_options_that_there_are(bundle: Bundle, full: Path, tmp_path: Path) -> None:
    words = str(bundle.path("tokenizer"))
    result = importing(full, tmp_path / "b", "--control", "canny", "--tokenizer", words)
    assert result.exit_code == 1
    assert "give --like BUNDLE" in plain(result.output)
    assert "--heads and --text-heads" in plain(result.output)


@pytest.mark.parametrize("layout", ["x.safetensors", "x"])
def test_the_shipped_model_survives_its_export(tmp_path: Path, layout: str) -> None:
    """Native size, guidance, thresholds, name and licence come back, and pictures are the same to the byte."""
    demo, more = Bundle.open(DEMO), []
    if layout == "x.safetensors":
        more = ["--control", "canny"]
    assert runner.invoke(app, ["export", str(DEMO), str(tmp_path / layout), *more]).exit_code == 0
    if more:
        more = ["--tokenizer", str(demo.path("tokenizer"))]
    result = runner.invoke(app, ["import", str(tmp_path / layout), str(tmp_path / "b"), *more])
    assert result.exit_code == 0, result.output
    made = Bundle.open(tmp_path / "b").manifest
    for field in ("architecture", "native_size", "defaults", "controls", "files", "name", "version", "licence"):
        assert getattr(made, field) == getattr(demo.manifest, field), field
    spec = ImageSpec("a gear", 32, 32, steps=1, seed=7)
    pictures = [sample(Pipeline.load(folder), [spec])[0] for folder in (demo, tmp_path / "b")]
    assert np.array_equal(*pictures)


def test_a_control_of_our_own_keeps_its_name_and_settings(bundle: Bundle, tmp_path: Path) -> None:
    export_control(bundle, "canny", tmp_path / "x.safetensors")
    result = importing(tmp_path / "x.safetensors", tmp_path / "b", "--base", str(bundle.folder))
    assert result.exit_code == 0, result.output
    assert Bundle.open(tmp_path / "b").manifest.controls["canny"] == bundle.manifest.controls["canny"]


def test_import_names_a_folders_only_control(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / FILE).unlink()
    shutil.rmtree(copy / "controlnet_depth")
    (copy / "controlnet_canny").rename(copy / "controlnet")
    result = importing(copy, tmp_path / "b", "--control", "canny")
    assert result.exit_code == 0, result.output
    assert {name: of.annotator for name, of in Bundle.open(tmp_path / "b").manifest.controls.items()} == {
        "canny": "canny"
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--name", "My Model"], "--name is 'My Model': choose small letters"),
        (["--control", "Canny-HED"], "--control is 'Canny-HED': choose small letters"),
        (["--version", "one two"], "--version is 'one two': choose letters"),
        (["--size", "500"], "--size is 500: this model's sizes are multiples of 64; choose 448 or 512"),
        (["--size", "40"], "multiples of 64; choose 64"),
        (["--control", "shuffle"], "as the shuffle ControlNet is, which is not taken"),
        (["--licence", ""], "--licence is missing"),
        (["--tokenizer", "none"], "none/vocab.json is not there"),
        ([], "no tokenizer: give --tokenizer FOLDER"),
    ],
)
def test_import_refuses_a_mistake_before_it_reads_gigabytes(tmp_path: Path, options: list[str], message: str) -> None:
    (tmp_path / "model.ckpt").write_text("not looked at")
    result = importing(tmp_path / "model.ckpt", tmp_path / "b", "--control", "canny", *options)
    assert result.exit_code in (1, 2)
    assert message in plain(result.output)
    assert "http" not in result.output


@pytest.mark.parametrize("taken", ["file", "folder"])
def test_import_writes_over_nothing(folder: Path, tmp_path: Path, taken: str) -> None:
    (tmp_path / "folder").mkdir()
    for name in ("file", "folder/file"):
        (tmp_path / name).write_text("mine")
    result = importing(folder, tmp_path / taken)
    assert result.exit_code == 2
    assert "choose another name, or remove it first" in plain(result.output)


def test_import_refuses_a_size_that_a_model_can_not_make(bundle: Bundle, folder: Path, tmp_path: Path) -> None:
    multiple = bundle.manifest.architecture.multiple
    result = importing(folder, tmp_path / "b", "--size", str(multiple + 1))
    assert result.exit_code == 2
    assert f"choose {multiple} or {2 * multiple}" in plain(result.output)


def test_import_refuses_a_tokenizer_of_another_model(bundle: Bundle, full: Path, tmp_path: Path) -> None:
    words = str(Bundle.open(DEMO).path("tokenizer"))
    options = ["--control", "canny", "--like", str(bundle.folder), "--tokenizer", words]
    result = importing(full, tmp_path / "b", *options)
    assert result.exit_code == 1
    assert "does not fit the text encoder: it has 649 tokens" in plain(result.output)
    assert not (tmp_path / "b").exists()


def test_a_licence_may_be_a_license(folder: Path, tmp_path: Path) -> None:
    arguments = ["import", str(folder), str(tmp_path / "b"), "--name", "imported", "--license", "CC0-1.0"]
    assert runner.invoke(app, arguments).exit_code == 0
    assert Bundle.open(tmp_path / "b").manifest.licence == "CC0-1.0"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--base", "BUNDLE"], "--base needs --control"),
        (["--base", "BUNDLE", "--control", "mine", "--tokenizer", "clip"], "--base brings its own tokenizer"),
        (["--prediction", "v"], "--prediction is for a whole model in one file"),
        (["--heads", "2"], "--heads is for a whole model in one file"),
        (["--like", "BUNDLE"], "--like is for a whole model in one file"),
        (["--control", "canny"], "--control names a folder's only control, and PIPELINE has canny, depth"),
    ],
)
def test_import_refuses_options_that_would_do_nothing(
    options: list[str], message: str, folder: Path, bundle: Bundle, tmp_path: Path
) -> None:
    result = importing(folder, tmp_path / "b", *(option.replace("BUNDLE", str(bundle.folder)) for option in options))
    assert result.exit_code == 2
    assert message.replace("PIPELINE", str(folder)) in plain(result.output)


def test_import_refuses_an_annotator_that_there_is_not(folder: Path, tmp_path: Path) -> None:
    result = importing(folder, tmp_path / "b", "--annotator", "cany")
    assert result.exit_code == 2
    assert "--annotator 'cany' is unknown: choose from canny," in plain(result.output)


def test_import_refuses_a_variant_of_a_file(bundle: Bundle, tmp_path: Path) -> None:
    result = importing(bundle.path("unet.safetensors"), tmp_path / "b", "--variant", "fp16")
    assert "--variant is for folders" in plain(result.output)


def test_inspect_shows_ids_whole_and_metrics_where_they_are_asked_for() -> None:
    demo = Bundle.open(DEMO)
    shown = runner.invoke(app, ["inspect"], env={"COLUMNS": "80"}).output
    assert f"digest    {demo.digest}\n" in shown
    assert f"metrics   {len(demo.manifest.metrics)}, shown by --metrics\n" in shown
    more = runner.invoke(app, ["inspect", "--metrics"]).output
    assert all(f"metric    {name} " in more for name in demo.manifest.metrics)


def test_inspect_refuses_a_tokenizer_that_does_not_fit(bundle: Bundle, tmp_path: Path) -> None:
    folder = shutil.copytree(bundle.folder, tmp_path / "b")
    words = (folder / "tokenizer" / "vocab.json").read_bytes().replace(b'"<|endoftext|>"', b'"<|endoftexts|>"')
    (folder / "tokenizer" / "vocab.json").write_bytes(words)
    manifest = json.loads((folder / "bundle.json").read_text())
    of = {"sha256": hashlib.sha256(words).hexdigest(), "bytes": len(words)}
    manifest["files"]["tokenizer/vocab.json"] = of
    (folder / "bundle.json").write_text(json.dumps(manifest))
    result = runner.invoke(app, ["inspect", str(folder)])
    assert result.exit_code == 1
    assert "its vocabulary lacks <|endoftext|>" in plain(result.output)


def test_the_version_is_told() -> None:
    assert runner.invoke(app, ["--version"]).output == f"controlnet {__version__}\n"


def test_every_argument_and_option_says_what_it_is() -> None:
    commands = get_group(app).commands
    helps = {(name, part.name): part.help for name, command in commands.items() for part in command.params}
    assert {place for place, text in helps.items() if not text} == set()
    assert {place for place, text in helps.items() if text.split()[0] in ("Of", "Whose", "Makes", "Which")} == set()


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


@pytest.mark.parametrize("option", ["-n", "--n"])
def test_several_images_are_numbered(bundle: Bundle, tmp_path: Path, option: str) -> None:
    assert generating(bundle, tmp_path / "out.png", option, "2").exit_code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out-0.png", "out-1.png"]


@pytest.mark.parametrize(("there", "device"), [(True, "cuda"), (False, "cpu")])
def test_a_device_that_is_left_open_is_a_gpu_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, there: bool, device: str
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: there)
    assert (_device("auto"), _device("cpu")) == (device, "cpu")


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
        (".", (), "is not empty: choose another name"),
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
