from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from controlnet.bundle import Bundle
from controlnet.checkpoint import Imported, export_diffusers, export_original, import_checkpoint
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


def test_import_adds_a_control_to_a_base(folder: Path, bundle: Bundle, tmp_path: Path) -> None:
    options = ["--base", str(bundle.folder), "--control", "mine", "--annotator", "invert"]
    result = importing(folder / "controlnet_depth", tmp_path / "b", *options)
    assert result.exit_code == 0, result.output
    made = Bundle.open(tmp_path / "b").manifest
    assert made.controls["mine"].annotator == "invert"
    assert (made.controls["canny"], made.defaults) == (bundle.manifest.controls["canny"], bundle.manifest.defaults)


def test_import_wants_a_name_for_a_files_control(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def imported(file: Path, *, control: str) -> Imported:  # heads and groups are SD 1.5's on the command line
        return import_checkpoint(file, like=bundle.manifest.architecture, control=control)

    monkeypatch.setattr("controlnet.checkpoint.import_checkpoint", imported)
    file = export_original(bundle, "canny", tmp_path / "full.safetensors")
    result = importing(file, tmp_path / "b", "--tokenizer", str(bundle.path("tokenizer")))
    assert result.exit_code == 2
    assert "give it a name by --control" in plain(result.output)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--base", "BUNDLE"], "--base needs --control"),
        (["--control", "canny"], "--control is for a file or with --base"),
    ],
)
def test_import_refuses_options_that_would_do_nothing(
    options: list[str], message: str, folder: Path, bundle: Bundle, tmp_path: Path
) -> None:
    result = importing(folder, tmp_path / "b", *(option.replace("BUNDLE", str(bundle.folder)) for option in options))
    assert result.exit_code == 2
    assert message in plain(result.output)


def plain(output: str) -> str:
    """A message without its frame and line breaks."""
    return " ".join(output.replace("│", " ").split())
