"""docs/training.md, to the letter: its commands up to the first that needs a running platform."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from controlnet.bundle import DEMO, Bundle

pytestmark = pytest.mark.timeout(900)  # the first of these tests trains, imports, makes a picture and registers

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "training.md").read_text()
BEFORE, SERVING = PAGE.split("## Serve it\n")


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder like the root of the repository after what the page says has been typed there."""
    folder = tmp_path_factory.mktemp("root")
    (folder / "controlnet").mkdir()
    (folder / "controlnet" / "demo").symlink_to(DEMO)
    commands = folder / "bin"
    commands.mkdir()
    scripts = {
        "controlnet": f"#!{sys.executable}\nfrom controlnet.cli import main\nmain()\n",
        "cnserve": f"#!{sys.executable}\nfrom serve.cli import main\nmain()\n",
        "python": f'#!/bin/sh\nexec {sys.executable} "$@"\n',
    }
    for name, script in scripts.items():
        (commands / name).write_text(script)
        (commands / name).chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CN_")}
    environment |= {
        "PATH": f"{commands}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "300",
        "OMP_NUM_THREADS": "1",
    }

    (code,) = blocks(BEFORE, "python")
    (folder / re.match(r"# (\S+)\n", code)[1]).write_text(code)
    push = next(line for line in SERVING.splitlines() if line.startswith("cnserve models push"))
    told = []
    for typed in [*blocks(BEFORE, "sh"), push]:
        done = subprocess.run(["bash", "-ec", typed], cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, (typed, done.stdout, done.stderr)
        told.append(done.stdout)
    return folder, told


def test_the_training_ends_with_the_commands_that_the_page_goes_on_with(place):
    _, told = place
    following = told[1].split("next:\n")[1].splitlines()
    assert following[0].strip() in BEFORE
    assert following[2].strip() in SERVING
    assert "step 12 of 12" in told[1]


def test_the_files_are_there_that_the_page_lists(place):
    folder, _ = place
    listed = re.findall(r"^\| `([\w./]+)` \|", BEFORE, re.MULTILINE)
    assert len(listed) == 5
    assert {name for name in listed if not (folder / "runs/disc/control-disc" / name).is_file()} == set()


def test_the_bundle_tells_its_own_training(place):
    folder, _ = place
    manifest = Bundle.open(folder / "bundles" / "disc").manifest
    assert manifest.training_data["control-disc"]["data"]["pictures"] == 30
    assert manifest.training_data["base"]["bundle"] == Bundle.open(DEMO).digest
    assert set(manifest.metrics) == {"loss_disc", "loss_train_disc"}


def test_the_new_control_makes_a_picture(place):
    folder, _ = place
    with Image.open(folder / "disc.png") as picture:
        assert picture.size == (128, 128)
        assert picture.getextrema() != ((0, 0),) * 3


def test_the_bundle_is_registered(place):
    folder, told = place
    assert told[-1].startswith("version 1")
    assert Bundle.open(folder / "bundles" / "disc").digest in told[-1]
