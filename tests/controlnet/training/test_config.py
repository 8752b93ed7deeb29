"""What is told before torch is imported: every key, and what is wrong with a value."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from controlnet.bundle import DEMO
from controlnet.training.config import CONF, STAGES, describe, read_config


@pytest.fixture
def rest(pairs):
    return ["stage=control", "data.kind=pairs", f"data.train={pairs}"]


def test_the_last_of_equal_keys_counts(rest):
    assert read_config([*rest, "steps=3", "steps=4"])["steps"] == 4


@pytest.mark.parametrize("name", ["my pairs (1)", "a=b, c~d", "Bäume 図", "it's", 'say "x"', "back\\slash", "[x]{y}:z"])
def test_a_path_may_hold_any_characters(name, pairs, tmp_path):
    folder = pairs.rename(tmp_path.with_name(f"{tmp_path.name} {name}"))
    config = read_config(["stage=control", "data.kind=pairs", f"data.train={folder}", f"folder={folder}/run"])
    assert (config["data"]["train"], config["folder"]) == (str(folder), f"{folder}/run")


def test_a_path_that_is_quoted_already_is_taken_out_of_its_quotes(pairs):
    assert read_config(["stage=control", "data.kind=pairs", f"data.train='{pairs}'"])["data"]["train"] == str(pairs)


def test_no_path_is_no_path_called_null(rest):
    assert read_config([*rest, "data.held_out=null"])["data"]["held_out"] is None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stepz=10", "stage=control has no stepz: did you mean steps?"),
        ("+stepz=10", "stage=control has no stepz: did you mean steps?"),
        ("data.trian=x", "did you mean data.train?"),
        ("crop=16", "stage=control has no crop: `controlnet train --show stage=control` lists all keys"),
        ("steps", "'steps' is not key=value"),
        ("steps=ten", "steps is 'ten': it must be a valid integer"),
        ("steps=0", "steps is 0: it must be greater than or equal to 1"),
        ("batch=-1", "batch is -1: it must be greater than or equal to 1"),
        ("dropout=2", "dropout is 2: it must be less than or equal to 1"),
        ("optimizer=sgd", "optimizer is 'sgd': it must be 'muon' or 'adamw'"),
        ("data.kind=pair", "data.kind is 'pair': it must be 'parts' or 'pairs'"),
        ("name=Canny-HED", "name is 'Canny-HED': it must match pattern"),
        ("steps=[1", "steps=[1 cannot be read"),
        ("data.train=none", "data.train is none, which has no prompt.json"),
        ("data.kind=parts", "which has no meta.json; give data.kind=pairs"),
        ("bundle=none", "none is no bundle"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_the_key(override, message, rest):
    with pytest.raises(ValueError, match=re.escape(message)) as refused:
        read_config([*rest, override])
    assert "\n" not in str(refused.value)


def test_a_size_that_the_bundle_cannot_take_is_refused(rest):
    with pytest.raises(ValueError, match=r"data\.size is 100: the model takes multiples of 32, such as 96"):
        read_config([*rest, f"bundle={DEMO}", "data.size=100"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "stage is missing: give one of stage=vae, stage=base, stage=control"),
        (["stage=depth"], "stage is depth"),
        (["stage=vae", "stage=base"], "stage is vae and base"),
        (["stage=vae"], "data.train is missing"),
    ],
)
def test_what_is_missing_is_asked_for(overrides, message):
    with pytest.raises(ValueError, match=message):
        read_config(overrides)


@pytest.mark.parametrize(
    ("overrides", "folder"),
    [([], "runs/demo"), (["name=mine", f"bundle={DEMO}"], "runs/mine"), ([f"bundle={DEMO}", "folder=here"], "here")],
)
def test_a_control_on_a_bundle_has_a_folder_of_its_own_name(overrides, folder, rest):
    assert read_config([*rest, *overrides])["folder"] == folder


def test_numbers_of_the_architecture_may_be_added(rest):
    config = read_config([*rest, "architecture.unet.model_channels=16", "+architecture.unet.in_channels=4"])
    assert config["architecture"]["unet"] == config["architecture"]["unet"] | {"model_channels": 16, "in_channels": 4}


@pytest.mark.parametrize("stage", STAGES)
def test_every_key_is_described(stage):
    rows = describe([f"stage={stage}", "seed=7"])
    assert all(meaning for _, _, meaning in rows), [key for key, _, meaning in rows if not meaning]
    shown = {key: value for key, value, _ in rows}
    assert (shown["seed"], shown["data.train"], shown["mlflow"]) == ("7", "required", "null")
    lines = (CONF / f"{stage}.yaml").read_text().splitlines()
    assert {line.split(":")[0] for line in lines if ":" in line} - {"defaults", "stage"} <= set(shown)


def test_a_mistake_costs_no_import_of_torch(pairs):
    code = (
        "import sys; from controlnet.training.config import read_config\n"
        "try: read_config(sys.argv[1:])\n"
        "except ValueError as error: print([str(error), 'torch' in sys.modules].__repr__())"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, "stage=control", "stepz=3"], check=True, capture_output=True, text=True, cwd=Path()
    )
    assert "did you mean steps?" in told.stdout
    assert told.stdout.strip().endswith("False]")
