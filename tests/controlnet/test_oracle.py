"""What the original code computed from a small checkpoint of its own layout, recomputed here.

The checkpoint has random weights, zero convolutions included. Weights are stored as float16; both sides computed in
float32, and agree to that precision: the largest error is under 1e-5 of the largest value.
"""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from controlnet.architecture import ControlConfig, ScheduleConfig, TextConfig, UNetConfig, VAEConfig
from controlnet.control import ControlNet
from controlnet.diffusion import Schedule
from controlnet.samplers import advance, ddim
from controlnet.text import TextEncoder
from controlnet.unet import UNet
from controlnet.vae import VAE

GOLDEN = Path(__file__).parents[3] / "shared/golden"
SPEC, WEIGHTS, OUTPUTS = (GOLDEN / f"ldm-v15.{end}" for end in ("json", "weights.safetensors", "outputs.safetensors"))

pytestmark = pytest.mark.skipif(
    not (SPEC.is_file() and WEIGHTS.is_file() and OUTPUTS.is_file()),
    reason=f"the original's weights and outputs (ldm-v15.*) are not in {GOLDEN}",
)


@pytest.fixture(scope="module")
def spec():
    return json.loads(SPEC.read_text())


@pytest.fixture(scope="module")
def expected():
    return load_file(OUTPUTS)


@pytest.fixture(scope="module")
def nets(spec):
    """The four networks with the checkpoint's weights, every key accounted for."""
    sizes = spec["unet"]
    unet_config = UNetConfig(
        model_channels=sizes["model_channels"],
        channel_mult=tuple(sizes["channel_mult"]),
        num_heads=sizes["num_heads"],
        context_dim=sizes["context_dim"],
    )
    nets = SimpleNamespace(
        unet=UNet(unet_config),
        control=ControlNet(unet_config, ControlConfig()),
        vae=VAE(VAEConfig(channels=spec["vae_ch"], channel_mult=tuple(spec["vae_ch_mult"]))),
        text=TextEncoder(TextConfig(**spec["text"], bos_token_id=598, eos_token_id=599, pad_token_id=599)),
    )
    weights = load_file(WEIGHTS)
    for module, prefix in [
        (nets.unet, "model.diffusion_model."),
        (nets.control, "control_model."),
        (nets.vae, "first_stage_model."),
        (nets.text.transformer, "cond_stage_model.transformer.text_model."),
    ]:
        own = {name: weights.pop(name) for name in list(weights) if name.startswith(prefix)}
        own.pop(prefix + "embeddings.position_ids", None)
        module.load_state_dict({name.removeprefix(prefix): weight.float() for name, weight in own.items()})
        module.eval()
    assert all("." not in name for name in weights), "only the schedule's buffers are left"
    return nets


@pytest.fixture(scope="module")
def residuals(nets, expected):
    with torch.no_grad():
        return nets.control(expected["x"], nets.control.embed(expected["hint"]), expected["t"], expected["context"])


def assert_same(ours, theirs):
    assert ours.shape == theirs.shape
    difference = ((ours - theirs).abs().max() / theirs.abs().max()).item()
    assert difference < 1e-5


def test_the_schedule_is_the_checkpoints():
    stored = load_file(WEIGHTS)["alphas_cumprod"]
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
@pytest.mark.parametrize("name", ["balanced", "guess", "strength"])
def test_decoding(nets, expected, name):
    assert_same(nets.vae.decode(nets.vae.from_latent(expected[f"ddim.{name}"])), expected[f"image.{name}"])


@torch.no_grad()
@pytest.mark.parametrize("name", ["balanced", "guess", "strength"])
def test_a_whole_run(nets, expected, spec, name):
    settings = spec["runs"][name]
    guess = settings["guess"]
    scales = [settings["strength"] * (0.825 ** (12 - i) if guess else 1.0) for i in range(13)]
    schedule = Schedule(ScheduleConfig(prediction=spec["parameterization"]))
    plan = ddim(schedule, settings["steps"], timesteps="original")

    x, embedded = expected["x"], nets.control.embed(expected["hint"])
    zeros = torch.zeros_like(x)

    def predict(x, t, context, controlled):
        steering = nets.control(x, embedded, t, context) if controlled else ()
        control = [scale * residual for scale, residual in zip(scales, steering, strict=False)]
        return nets.unet(x, t, context, control or None)

    for t, coefficients in zip(plan.timesteps, plan.coefficients, strict=True):
        t = t.expand(len(x))
        conditional = predict(x, t, expected["context"], controlled=True)
        unconditional = predict(x, t, expected["ucontext"], controlled=not guess)
        output = unconditional + settings["guidance"] * (conditional - unconditional)
        x = advance(x, schedule.to_x0(x, output, t), zeros, zeros, coefficients.expand(len(x), 4))
    assert_same(x, expected[f"ddim.{name}"])
    assert_same(nets.vae.decode(nets.vae.from_latent(x)), expected[f"image.{name}"])
