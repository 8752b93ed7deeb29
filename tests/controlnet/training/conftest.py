"""Eight tiny rendered pictures, and the numbers of a model that learns them in seconds."""

import json

import cv2
import numpy as np
import pytest

from controlnet.parts import write_dataset
from controlnet.training.data import RenderedParts

TINY = [
    "architecture.unet.model_channels=16",
    "architecture.unet.channel_mult=[1,2]",
    "architecture.unet.attention_resolutions=[2]",
    "architecture.unet.num_heads=2",
    "architecture.unet.context_dim=32",
    "architecture.unet.norm_groups=4",
    "architecture.vae.channels=8",
    "architecture.vae.channel_mult=[1,2,2]",
    "architecture.vae.norm_groups=4",
    "architecture.text.hidden_size=32",
    "architecture.text.intermediate_size=64",
    "architecture.text.num_hidden_layers=1",
    "architecture.text.num_attention_heads=2",
    "architecture.control.hint_channels=[4,8,8]",
    "accelerator=cpu",
    "progress=false",
    "batch=4",
    "show_every=1000",
]


@pytest.fixture(scope="session")
def parts_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    write_dataset(folder, 8, seed=0, size=32, workers=1)
    return folder


@pytest.fixture(scope="session")
def parts(parts_folder):
    return RenderedParts(parts_folder)


@pytest.fixture
def pairs(tmp_path):
    for name in ("source", "target"):
        (tmp_path / name).mkdir()
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 2] = 255  # OpenCV writes blue first
    cv2.imwrite(str(tmp_path / "target/0.png"), red)
    lines = np.zeros((8, 8, 3), np.uint8)
    lines[:, 0] = 255
    cv2.imwrite(str(tmp_path / "source/0.png"), lines)
    row = {"source": "source/0.png", "target": "target/0.png", "prompt": "a red square"}
    (tmp_path / "prompt.json").write_text(json.dumps(row) + "\n\n")
    return tmp_path
