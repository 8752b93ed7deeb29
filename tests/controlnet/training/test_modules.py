"""The three modules learn, and the control leaves the base alone."""

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from controlnet.control import ControlNet
from controlnet.diffusion import Schedule
from controlnet.text import TextEncoder
from controlnet.training.base import BaseTraining, stratified_timesteps
from controlnet.training.control import ControlTraining
from controlnet.training.losses import ReconstructionLoss
from controlnet.training.vae import VAETraining, latent_scale
from controlnet.unet import UNet
from controlnet.vae import VAE
from tests.networks import TINY, randomise


def losses(module, batch, steps, loss):
    optimizer = module.configure_optimizers()
    values = []
    for _ in range(steps):
        value = loss(batch)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    return values


@pytest.fixture
def images():
    torch.manual_seed(0)
    return torch.nn.functional.interpolate(torch.rand(2, 3, 4, 4) * 2 - 1, scale_factor=4)


def test_the_autoencoder_learns_its_pictures(images):
    module = VAETraining(VAE(TINY.vae), ReconstructionLoss(), "muon", 5e-3)
    module.log = lambda *_: None
    batch = {"image": images, "mask": torch.ones(2, 1, 16, 16)}
    values = losses(module, batch, 40, lambda b: module.training_step(b, 0))
    assert sum(values[-3:]) < 0.6 * sum(values[:3])


def test_the_measured_scale_gives_latents_a_deviation_of_one(images):
    vae = VAE(TINY.vae)
    assert (vae.encode(images).mean * latent_scale(vae, images)).std().item() == pytest.approx(1, rel=1e-4)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    latent = torch.randn(4, 4, 8, 8, generator=generator)
    hint = torch.rand(4, 3, 32, 32, generator=generator)
    return {"latent": latent, "ids": torch.randint(0, 50, (4, 12), generator=generator), "hint": hint}


@pytest.fixture
def noise():
    return torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(1))


T = torch.tensor([50, 300, 600, 950])


def test_the_base_learns_its_batch(batch, noise):
    torch.manual_seed(0)
    module = BaseTraining(UNet(TINY.unet), TextEncoder(TINY.text), Schedule(TINY.schedule), "muon", 3e-3, 5.0)
    values = losses(module, batch, 20, lambda b: module.loss(b, T, noise))
    assert values[-1] < 0.8 * values[0]


@pytest.fixture
def control():
    torch.manual_seed(0)
    unet, text = randomise(UNet(TINY.unet), 0), randomise(TextEncoder(TINY.text), 1)
    net = ControlNet.from_unet(unet, TINY.control)
    return ControlTraining(net, unet, text, Schedule(TINY.schedule), "muon", 3e-3, 6e-3, gamma=5.0, late=0.5)


def test_the_control_learns_its_batch_and_the_base_keeps_its_bits(control, batch, noise):
    locked = {f"{n}.{k}": v.clone() for n in ("unet", "text") for k, v in getattr(control, n).state_dict().items()}
    values = losses(control, batch, 15, lambda b: control.loss(b, T, noise))
    assert values[-1] < 0.9 * values[0]
    now = control.state_dict()
    assert all(torch.equal(now[key], value) for key, value in locked.items())
    assert all(parameter.grad is None for parameter in (*control.unet.parameters(), *control.text.parameters()))


@pytest.mark.filterwarnings("ignore")  # as in test_run
def test_the_base_is_evaluated_while_the_control_is_trained(control, batch, monkeypatch):
    modes = []
    loss = control.loss
    monkeypatch.setattr(
        control, "loss", lambda *args: modes.append((control.unet.training, control.text.training)) or loss(*args)
    )
    trainer = pl.Trainer(
        accelerator="cpu", max_steps=2, logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    trainer.fit(control, DataLoader([batch], batch_size=None))
    assert modes == [(False, False)] * 2


def test_a_controls_loss_is_measured_at_the_same_noise_each_time(control, batch):
    torch.manual_seed(1)
    first = control.measure(batch)
    torch.manual_seed(2)
    assert control.measure(batch) == first > 0


def test_only_the_control_is_optimized_and_what_starts_from_nothing_has_a_rate_of_its_own(control):
    groups = control.configure_optimizers().param_groups
    optimized = {id(p) for group in groups for p in group["params"]}
    assert optimized == {id(p) for p in control.control.parameters()}
    fast = {id(p) for group in groups if group["lr"] == 6e-3 for p in group["params"]}
    net = control.control
    fresh = (net.input_hint_block, net.zero_convs, net.middle_block_out)
    assert fast == {id(p) for part in fresh for p in part.parameters()}


def test_an_untrained_control_changes_nothing(control, batch, noise):
    base = BaseTraining(control.unet, control.text, control.schedule, "muon", 1e-3, 5.0)
    assert control.loss(batch, T, noise).item() == base.loss(batch, T, noise).item()


def test_stratified_timesteps_take_one_from_each_part_of_the_range():
    t = stratified_timesteps(10, 1000, torch.device("cpu"))
    assert (t // 100).tolist() == list(range(10))


def test_a_locked_encoder_keeps_its_bits_while_the_decoder_learns(images):
    vae = VAE(TINY.vae)
    module = VAETraining(vae, ReconstructionLoss(), "muon", 5e-3, lock_encoder=True)
    module.log = lambda *_: None
    before = {key: value.clone() for key, value in vae.state_dict().items()}
    losses(module, {"image": images, "mask": torch.ones(2, 1, 16, 16)}, 2, lambda b: module.training_step(b, 0))
    changed = {key.split(".")[0] for key, value in vae.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {"decoder", "post_quant_conv"}
