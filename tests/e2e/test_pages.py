"""Lines of the README and docs/training.md as they stand, but for the address: their pictures follow their maps."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from controlnet.bundle import DEMO, Bundle, ControlWeights
from controlnet.checkpoint import extend_bundle
from controlnet.generate import generate
from controlnet.pipeline import Control, ImageSpec, Pipeline
from controlnet.pixels import to_hint
from tests.e2e.conftest import Running
from tests.readme import block, follows_coins, save_coins

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

FOLLOWS = 0.5


@pytest.fixture
def here(platform: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the photograph, where `data` is the platform's."""
    save_coins(tmp_path)
    (tmp_path / "data").symlink_to(platform.environment["CN_DATA_DIR"])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_first_request_follows_the_coins(platform: Running, here: Path) -> None:
    lines = block("sh", "curl -s").replace("http://127.0.0.1:8000", platform.rig.url)
    subprocess.run(["bash", "-ec", lines.replace(".venv/bin/python", sys.executable)], check=True)
    assert follows_coins(np.asarray(Image.open(here / "picture.png"))) > FOLLOWS


def test_each_picture_of_the_client_follows_the_coins(platform: Running, here: Path) -> None:
    lines = block("python", "client.annotate").replace("http://127.0.0.1:8000", platform.rig.url)
    subprocess.run([sys.executable, "-c", lines], check=True)
    pictures = [np.asarray(Image.open(file)) for file in sorted((here / "pictures").glob("image_*.png"))]
    assert len(pictures) == 4
    assert min(follows_coins(picture) for picture in pictures) > FOLLOWS


def test_a_trained_control_is_served_by_the_lines_of_its_page(platform: Running, here: Path) -> None:
    """Up to these lines the page is run by tests/controlnet/training/test_page.py. Here edges are the control."""
    demo = Bundle.open(DEMO)
    weights = ControlWeights(load_file(demo.path(demo.manifest.controls["canny"].file)), "none", {})
    about = {"name": "disc", "version": "1", "licence": "Apache-2.0", "sources": {"disc": "the demo's edges"}}
    extend_bundle(demo, here / "bundles" / "disc", {"disc": weights}, created=datetime.now(UTC), **about)
    (here / "pairs.py").write_text(block("python", "# pairs.py", "docs/training.md"))
    subprocess.run([sys.executable, "pairs.py"], check=True)

    lines = block("sh", "cnserve models promote", "docs/training.md").replace("http://127.0.0.1:8000", platform.rig.url)
    push, rest = lines.split("\n", 1)
    commands = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment = {**os.environ, **platform.environment, **commands}
    pushed = subprocess.run(["bash", "-ec", push], env=environment, check=True, capture_output=True, text=True).stdout
    rest = rest.replace("promote 2", f"promote {pushed.split()[1]}")  # other tests have pushed, too
    try:
        subprocess.run(["bash", "-ec", rest], env=environment, check=True)
    finally:
        platform.cnserve("models", "promote", "1")
    # The shipped edges don't follow one small circle, so it is the library that says what the control makes of it.
    hint = to_hint(np.asarray(Image.open(here / "pairs" / "source" / "0.png").convert("RGB")))
    spec = ImageSpec("a red disc", 128, 128, guidance=demo.manifest.defaults.guidance, seed=1)
    pipeline = Pipeline.load(here / "bundles" / "disc")
    free, steered = (
        generate(pipeline, [replace(spec, controls=controls)])[0].astype(int)
        for controls in ((), (Control("disc", hint),))
    )
    served = np.asarray(Image.open(here / "served.png").convert("RGB")).astype(int)
    assert np.abs(served - steered).max() <= 2
    assert np.abs(served - free).mean() > 2
