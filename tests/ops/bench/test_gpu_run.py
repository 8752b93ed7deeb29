"""The GPU benchmark at a small size on a CPU, with nothing else of ours to import."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ops.bench.gpu.goals import BEST, LADDER

# A machine that is lent has torch, numpy, safetensors, einops and pydantic: nothing else of ours can be imported.
BARE = """
import importlib.abc, sys

class Bare(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"cv2", "diffusers", "fastapi", "huggingface_hub", "hydra", "mlflow", "PIL",
                                      "ray", "rich", "scipy", "serve", "sqlalchemy", "tokenizers", "transformers",
                                      "typer"}:
            raise ModuleNotFoundError(f"{name} is not there", name=name)

sys.meta_path.insert(0, Bare())
from ops.bench.gpu.__main__ import main
raise SystemExit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gpu")
    arguments = ["--device", "cpu", "--size", "small", "--compile-seconds", "0", "--out", str(folder)]
    root = Path(__file__).parents[3]
    alone = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", BARE, *arguments], cwd=root, env=alone, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == (folder / "gpu.md").read_text().strip()
    return folder


def test_a_dry_run_measures_every_goal_and_every_way(out: Path) -> None:
    found = json.loads((out / "gpu.json").read_text())
    assert found["sound"]
    assert {figure["goal"] for figure in found["figures"]} == {"G1", "G2", "G3", "G4", "G5"}
    assert all(figure["value"] > 0 for figure in found["figures"])
    assert {way.name for way in (*LADDER, BEST)} <= {rung["way"] for rung in found["ladder"]}


def test_a_dry_run_says_that_it_is_one_and_judges_nothing(out: Path) -> None:
    text = (out / "gpu.md").read_text()
    assert "figures say nothing of a GPU" in text
    assert "A CPU has no graphs, streams and Triton" in text
    assert "| yes |\n" not in text.partition("| a step with")[0]


def test_buckets_beyond_the_time_to_compile_are_named(out: Path) -> None:
    assert any("8 rows are not compiled" in note for note in json.loads((out / "gpu.json").read_text())["notes"])
