"""The bundle this repository ships is sound, small, and does what the README says of it."""

from __future__ import annotations

import runpy
import shlex
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import skimage
import torch
from PIL import Image
from typer.testing import CliRunner

from controlnet.annotators import find, fit, resize, to_rgb
from controlnet.bundle import DEMO, Bundle
from controlnet.cli import app
from controlnet.generate import generate
from controlnet.parts import VOCABULARY
from controlnet.pipeline import Control, ImageSpec, Pipeline
from controlnet.text import Tokenizer
from controlnet.training.tokenizer import pieces
from tests.readme import ROOT, agreement, block, follows_coins, save_coins


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.open(DEMO)


@pytest.fixture(scope="module")
def pipeline(bundle: Bundle) -> Pipeline:
    return Pipeline.load(bundle)


def test_every_byte_is_what_the_manifest_says(bundle: Bundle) -> None:
    bundle.verify()


def test_it_fits_in_40_mb(bundle: Bundle) -> None:
    assert bundle.nbytes <= 40e6


def test_it_says_what_it_is(bundle: Bundle) -> None:
    assert bundle.manifest.licence == "Apache-2.0"
    assert bundle.manifest.metrics
    assert set(bundle.manifest.controls) == {"canny"}


def test_each_word_of_its_captions_is_one_token(bundle: Bundle) -> None:
    numbers = bundle.manifest.architecture.text
    tokenizer = Tokenizer(bundle.path("tokenizer"), numbers.max_position_embeddings)
    ids = tokenizer(sorted({piece for word in VOCABULARY for piece in pieces(word)}))  # CLIP cuts "close-up" in three
    assert (ids[:, 2] == numbers.eos_token_id).all()  # start, the word, end


def canny_of_coins(bundle: Bundle) -> npt.NDArray[np.uint8]:
    photograph = to_rgb(skimage.data.coins())
    side = 2 * bundle.manifest.native_size.height  # 24 coins: at the native size each would be a few pixels wide
    height, width = fit(*photograph.shape[:2], side, multiple=bundle.manifest.architecture.multiple)
    canny = bundle.manifest.controls["canny"]
    return find(canny.annotator)(resize(photograph, height, width), canny.parameters)


def test_it_follows_the_edges_of_a_photograph(bundle: Bundle, pipeline: Pipeline) -> None:
    """Roman coins: nothing it was trained on. Two seeds, so that luck does not decide."""
    control_map = canny_of_coins(bundle)
    height, width = control_map.shape[:2]
    hint = torch.from_numpy(control_map.astype(np.float32) / 255).permute(2, 0, 1).contiguous()

    def specs(controls: tuple[Control, ...]) -> list[ImageSpec]:
        prompt = "brass discs on a blue bench"
        few = {"steps": 8, "sampler": "dpmpp_2m"}  # what edges decide is decided by then
        return [
            ImageSpec(prompt, width, height, guidance=3.0, seed=seed, controls=controls, **few) for seed in range(2)
        ]

    steered = generate(pipeline, specs((Control("canny", hint),)))
    free = generate(pipeline, specs(()))
    with_control, without = (np.mean([agreement(p, control_map) for p in made]) for made in (steered, free))
    assert with_control > without + 0.15


@pytest.mark.parametrize(("bench", "channel"), [("blue", 2), ("green", 1)])
def test_the_prompt_colours_the_bench(pipeline: Pipeline, bench: str, channel: int) -> None:
    spec = ImageSpec(f"a steel washer on a {bench} bench", 128, 128, guidance=3.0, seed=3)
    (picture,) = generate(pipeline, [spec])
    corners = np.concatenate([picture[:8, :8], picture[:8, -8:], picture[-8:, :8], picture[-8:, -8:]])
    assert corners.reshape(-1, 3).mean(axis=0).argmax() == channel


def test_the_notebook_lines_of_the_readme_follow_the_coins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "notebook.py").write_text(block("python", "Pipeline.load"))
    monkeypatch.chdir(ROOT)
    made = runpy.run_path(str(tmp_path / "notebook.py"))
    assert follows_coins(made["pictures"][0]) > 0.5


def test_the_commands_of_the_readme_make_the_coins_and_files_that_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_coins(tmp_path)
    (tmp_path / "controlnet").symlink_to(ROOT / "controlnet")
    monkeypatch.chdir(tmp_path)
    for line in block("sh", "controlnet generate").splitlines():
        result = CliRunner().invoke(app, shlex.split(line, comments=True)[1:])
        assert result.exit_code == 0, result.output
    assert follows_coins(np.asarray(Image.open("out.png"))) > 0.5
    assert Path("exported.safetensors").stat().st_size > 1e7
    assert Bundle.open(tmp_path / "bundles/again").manifest.controls.keys() == {"canny"}
