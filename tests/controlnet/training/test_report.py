"""The commands that a finished stage names are those that come next."""

import json
import shlex

import pytest

from controlnet.architecture import SD15
from controlnet.bundle import DEMO
from controlnet.training.report import report
from controlnet.training.store import Summary


def commands(folder, **config):
    text = report(config, folder, Summary(SD15, 12, 75.4, {"loss": 0.25}))
    return text, [shlex.split(line) for line in text.split("next:\n")[1].splitlines()]


def test_a_stage_tells_what_it_measured_and_where_its_weights_are(tmp_path):
    text, _ = commands(tmp_path / "vae", stage="vae", data={"kind": "parts", "train": "parts"})
    assert text.splitlines()[:3] == [
        "vae: 12 steps in 0:01:15; loss 0.25",
        f"weights: {tmp_path}/vae/weights.safetensors",
        f"pictures: {tmp_path}/vae/grids/000012.png",
    ]


@pytest.mark.parametrize(("stage", "following"), [("vae", "base"), ("base", "control")])
def test_a_stage_names_the_one_after_it(stage, following, tmp_path):
    _, told = commands(tmp_path / stage, stage=stage, data={"kind": "parts", "train": "my parts"})
    wanted = [f"stage={following}", f"folder={tmp_path}", "data.kind=parts", "data.train=my parts"]
    assert told == [["controlnet", "train", *wanted]]


def test_a_control_on_a_bundle_is_imported_tried_and_pushed(tmp_path):
    row = {"source": "a b.png", "target": "t.png", "prompt": "it's a disc"}
    (tmp_path / "prompt.json").write_text("\n" + json.dumps(row) + "\n")
    data = {"kind": "pairs", "train": str(tmp_path), "held_out": None}
    folder = tmp_path / "control-mine"
    _, told = commands(folder, stage="control", name="mine", bundle=str(DEMO), data=data)
    assert told == [
        ["controlnet", "import", f"{folder}/weights.safetensors", "bundles/mine", "--base", str(DEMO),
         "--control", "mine", "--name", "controlnet-demo-mine", "--licence", "Apache-2.0"],
        ["controlnet", "generate", "it's a disc", "-b", "bundles/mine", "-m", f"mine={tmp_path}/a b.png",
         "-o", "mine.png"],
        ["cnserve", "models", "push", "bundles/mine"],
    ]  # fmt: skip


def test_a_control_of_a_run_is_exported_with_its_base(tmp_path):
    data = {"kind": "parts", "train": "parts", "held_out": None}
    _, told = commands(tmp_path / "run" / "control-canny", stage="control", name="canny", bundle=None, data=data)
    assert told[0][:5] == ["python", "-m", "controlnet.training.export", f"{tmp_path}/run", "bundles/run"]
    assert told[1][-4:] == ["-c", "canny=photo.png", "-o", "canny.png"]
