import os
import shutil

import cv2
import numpy as np
import pytest
import torch

from controlnet.control import ControlNet
from controlnet.text import TextEncoder
from controlnet.training.data import RenderedParts
from controlnet.training.pairs import JsonLinesPairs
from controlnet.training.stages import kept_latents, snapshot
from controlnet.unet import UNet
from controlnet.vae import VAE
from tests.networks import TINY


def test_a_snapshot_is_where_the_networks_learn_and_leaves_them_as_they_are():
    vae = VAE(TINY.vae)  # only encodes before training, so it stays on the CPU
    with torch.device("meta"):
        unet, text, control = UNet(TINY.unet), TextEncoder(TINY.text), ControlNet(TINY.unet, TINY.control)
    pipeline = snapshot(TINY, unet, vae, text, None, {"canny": control})
    assert pipeline.device.type == "meta"
    nets = (pipeline.unet, pipeline.vae, pipeline.text, pipeline.controls["canny"])
    assert {weight.device.type for net in nets for weight in net.parameters()} == {"meta"}
    assert all(weight.requires_grad for weight in (*unet.parameters(), *control.parameters()))
    assert next(vae.parameters()).device.type == "cpu"


@pytest.fixture
def vae():
    torch.manual_seed(0)
    return VAE(TINY.vae)


@pytest.fixture
def encoded(vae, monkeypatch):
    """How many batches the VAE has encoded."""
    calls = []
    encode = vae.encode
    monkeypatch.setattr(vae, "encode", lambda images: calls.append(len(images)) or encode(images))
    return calls


@pytest.fixture
def folder(parts_folder, tmp_path):
    return shutil.copytree(parts_folder, tmp_path / "parts")


def test_latents_are_kept_for_the_next_stage(vae, encoded, folder, tmp_path):
    first, again = (kept_latents(tmp_path / "latents.pt", vae, RenderedParts(folder), mirrored=False) for _ in range(2))
    assert len(encoded) == 1
    assert torch.equal(first, again)


def other_weights(vae, folder):
    with torch.no_grad():
        vae.encoder.conv_in.weight[0, 0, 0, 0] += 1
    return RenderedParts(folder)


def other_pictures(vae, folder):
    os.utime(folder / "meta.json", (0, 0))
    return RenderedParts(folder)


def another_folder(vae, folder):
    return RenderedParts(shutil.copytree(folder, folder.with_name("other")))


@pytest.mark.parametrize("change", [other_weights, other_pictures, another_folder])
def test_latents_of_something_else_are_made_anew(change, vae, encoded, folder, tmp_path):
    kept_latents(tmp_path / "latents.pt", vae, RenderedParts(folder), mirrored=False)
    kept_latents(tmp_path / "latents.pt", vae, change(vae, folder), mirrored=False)
    assert len(encoded) == 2


def test_latents_of_another_size_are_made_anew(vae, encoded, tmp_path, pairs):
    for size in (8, 16):
        latents = kept_latents(tmp_path / "latents.pt", vae, JsonLinesPairs(pairs, size, size), mirrored=False)
        assert latents.shape[-1] == size // 4


def test_latents_of_a_picture_that_was_replaced_are_made_anew(vae, encoded, tmp_path, pairs):
    first = kept_latents(tmp_path / "latents.pt", vae, JsonLinesPairs(pairs, 8, 8), mirrored=False)
    cv2.imwrite(str(pairs / "target/0.png"), np.full((8, 8, 3), 90, np.uint8))
    second = kept_latents(tmp_path / "latents.pt", vae, JsonLinesPairs(pairs, 8, 8), mirrored=False)
    assert not torch.equal(first, second)


def test_damaged_pictures_are_named_before_any_is_encoded(vae, encoded, tmp_path, pairs):
    target = pairs / "target/0.png"
    cv2.imwrite(str(target), np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8))
    target.write_bytes(target.read_bytes()[:-60])
    with pytest.raises(ValueError, match=r"line 1: .*target/0\.png: .*cut short"):
        kept_latents(tmp_path / "latents.pt", vae, JsonLinesPairs(pairs, 8, 8), mirrored=False)
    assert not encoded


@pytest.mark.parametrize("share", [0, 0.01, 0.9])
def test_latents_that_were_cut_short_are_made_anew(share, vae, encoded, folder, tmp_path):
    file = tmp_path / "latents.pt"
    first = kept_latents(file, vae, RenderedParts(folder), mirrored=False)
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])
    assert torch.equal(kept_latents(file, vae, RenderedParts(folder), mirrored=False), first)
    assert len(encoded) == 2


def test_a_file_of_latents_that_says_nothing_of_itself_is_not_trusted(vae, encoded, folder, tmp_path):
    torch.save(torch.zeros(8, 4, 8, 8), tmp_path / "latents.pt")
    assert kept_latents(tmp_path / "latents.pt", vae, RenderedParts(folder), mirrored=False).any()
