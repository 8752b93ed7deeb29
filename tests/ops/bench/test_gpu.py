"""The GPU benchmark's own path, at a small size on a CPU: that it runs, and that its gate can close."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

import pytest
import torch

from ops.bench.gpu import naive
from ops.bench.gpu.__main__ import main
from ops.bench.gpu.checks import Parity, batched, compare, independent, predictions, steer
from ops.bench.gpu.engine import Engine, Way
from ops.bench.gpu.goals import BEST, LADDER
from ops.bench.gpu.networks import CONTROLS, SIZES, Image, Images, Networks

SIZE = SIZES["small"]
ROWS = SIZE.largest

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


def test_a_gpu_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(SystemExit):
        main(["--size", "small"])
    assert "no CUDA device here; --device cpu --size small" in capsys.readouterr().err


@pytest.mark.gpu
def test_on_a_gpu_graphs_lanes_and_compiled_code_answer_as_the_reference_does(tmp_path: Path) -> None:
    assert main(["--device", "cuda", "--size", "small", "--out", str(tmp_path)]) == 0


@pytest.fixture(scope="module")
def networks() -> Networks:
    return Networks.random(SIZE.architecture, torch.device("cpu"))


@pytest.fixture(scope="module")
def images() -> Images:
    return Images(SIZE, torch.device("cpu"), torch.float32)


def engine_of(networks: Networks, way: Way) -> Engine:
    engine = Engine(networks, SIZE, way)
    for rows in SIZE.buckets:
        engine.prepare(rows, controls=CONTROLS, compiled=False)
    engine.prepare_decoder(compiled=False)
    return engine


@pytest.fixture(scope="module")
def engine(networks: Networks) -> Engine:
    return engine_of(networks, Way("eager"))


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return bool((a.int() - b.int()).abs().max() <= 1)


def test_the_engine_makes_the_references_pictures_of_a_mixture(
    engine: Engine, networks: Networks, images: Images
) -> None:
    mixed = list(islice(images.mixed(), 24))
    run = engine.run(ROWS, cycle(mixed), 24, decode=True, stagger=False)
    expected = [naive.make(networks, image) for image in mixed]
    assert len(run.pictures) > ROWS // 2
    assert all(sum(close(picture, other) for other in expected) == 1 for picture in run.pictures)


def test_windows_spare_the_controls(engine: Engine, images: Images) -> None:
    def halves() -> Iterator[Image]:
        return (replace(image, window=(0.0, 0.5)) for image in images.alike())

    assert engine.run(ROWS, halves(), 2 * SIZE.steps).control_steps == ROWS // 2 * SIZE.steps


def test_several_controls_add_up(engine: Engine, networks: Networks, images: Images) -> None:
    asked = list(islice(images.alike((0, 1, 2)), ROWS // 2))
    found = compare("", batched(engine, ROWS, asked), predictions(networks, asked))
    assert found.error < 1e-4


def test_bits_do_not_depend_on_neighbours(engine: Engine, images: Images) -> None:
    assert independent(engine, ROWS, list(islice(images.alike(), 6))) == (True, True)


def test_a_neighbour_that_leaks_is_noticed(networks: Networks, images: Images) -> None:
    leaking = engine_of(networks, Way("leaking"))
    bucket = leaking.buckets[ROWS]
    ascend = bucket.ascend

    def leak() -> None:
        ascend()
        bucket.latents.add_(1e-6 * bucket.latents.mean(dim=0))

    bucket.ascend = leak  # type: ignore[method-assign]
    assert independent(leaking, ROWS, list(islice(images.alike(), 6))) == (False, False)


def test_a_disconnected_control_is_noticed(images: Images) -> None:
    networks = Networks.random(SIZE.architecture, torch.device("cpu"))
    some = list(islice(images.alike(), 2))
    assert steer(networks, some) > 0.01
    for outlet in [*networks.controls[0].zero_convs, networks.controls[0].middle_block_out]:
        for weight in outlet.parameters():
            weight.zero_()
    assert steer(networks, some) == 0.0


@pytest.mark.parametrize("wrong", [{"error": 0.2}, {"cosine": 0.9}, {"finite": False}])
def test_predictions_that_are_further_off_than_the_references_are_noticed(wrong: dict[str, float]) -> None:
    reference = Parity("reference", 0.02, 0.9998, True)
    assert reference.within(reference)
    assert not replace(reference, **wrong).within(reference)
