"""What the original code computed from a small checkpoint of its own layout, recomputed here.

The checkpoints have random weights, zero convolutions included. Weights are stored as float16; both sides computed in
float32 or better, and agree to that precision: the largest error is under 1e-5 of the largest value. Which sets there
are says `tests.controlnet.golden.sets`.
"""

import pytest
import torch
from safetensors.torch import load_file

from controlnet.architecture import ScheduleConfig
from controlnet.diffusion import Schedule
from tests.controlnet.golden.make import TOLERANCE, error
from tests.controlnet.golden.networks import Networks

RUNS = ["balanced", "guess", "strength"]


@pytest.fixture(scope="module")
def expected(golden):
    return golden.expected


@pytest.fixture(scope="module")
def nets(golden):
    return Networks.load(golden)


@pytest.fixture(scope="module")
def residuals(nets, expected):
    with torch.no_grad():
        return nets.residuals(expected)


def assert_same(ours, theirs):
    assert error(ours, theirs) < TOLERANCE


def test_the_schedule_is_the_checkpoints(golden):
    stored = load_file(golden.checkpoint)["alphas_cumprod"]
    torch.testing.assert_close(Schedule(ScheduleConfig()).alphas_cumprod.float(), stored, rtol=1e-6, atol=0)


def test_the_checkpoint_would_show_a_disconnected_controlnet(nets):
    assert all(conv[0].weight.any() for conv in [*nets.control.zero_convs, nets.control.middle_block_out])
    assert nets.control.input_hint_block[-1].weight.any()


@torch.no_grad()
@pytest.mark.parametrize(("ids", "features"), [("ids", "context"), ("uids", "ucontext")])
def test_text(nets, expected, ids, features):
    assert_same(nets.text(expected[ids]), expected[features])


@pytest.mark.parametrize("index", range(13))
def test_residual(residuals, expected, index):
    assert_same(residuals[index], expected[f"control.{index}"])


@torch.no_grad()
def test_prediction_with_control(nets, expected, residuals):
    assert_same(nets.unet(expected["x"], expected["t"], expected["context"], residuals), expected["eps"])


@torch.no_grad()
def test_prediction_without_control(nets, expected):
    assert_same(nets.unet(expected["x"], expected["t"], expected["context"]), expected["eps_nocontrol"])


@torch.no_grad()
def test_encoding(nets, expected):
    posterior = nets.vae.encode(expected["image_in"])
    assert_same(posterior.mean, expected["vae.mean"])
    assert_same(posterior.logvar, expected["vae.logvar"])


@torch.no_grad()
@pytest.mark.parametrize("name", RUNS)
def test_decoding(nets, expected, name):
    assert_same(nets.decode(expected[f"ddim.{name}"]), expected[f"image.{name}"])


@torch.no_grad()
@pytest.mark.parametrize("name", RUNS)
def test_a_whole_run(nets, expected, golden, name):
    latent = nets.run(expected, golden.spec["runs"][name])
    assert_same(latent, expected[f"ddim.{name}"])
    assert_same(nets.decode(latent), expected[f"image.{name}"])
