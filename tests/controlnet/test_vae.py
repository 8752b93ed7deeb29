import pytest
import torch
from torch import nn

from controlnet.architecture import VAEConfig
from controlnet.vae import VAE, Downsample, Posterior


@pytest.fixture
def vae():
    torch.manual_seed(0)
    return VAE(VAEConfig(channels=8, channel_mult=(1, 2, 3), num_res_blocks=1, norm_groups=4))


@pytest.fixture
def images():
    return torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1


@torch.no_grad()
def test_downsampling_pads_below_and_to_the_right_only():
    down = Downsample(1)
    nn.init.ones_(down.conv.weight)
    nn.init.zeros_(down.conv.bias)
    ones = down(torch.ones(1, 1, 4, 4))[0, 0]
    assert ones.tolist() == [[9, 6], [6, 4]]


def test_every_group_norm_has_the_autoencoders_epsilon(vae):
    assert {m.eps for m in vae.modules() if isinstance(m, nn.GroupNorm)} == {1e-6}


@torch.no_grad()
def test_latents_are_smaller_by_the_factor(vae, images):
    posterior = vae.encode(images)
    assert posterior.mean.shape == posterior.logvar.shape == (2, 4, 4, 6)


@torch.no_grad()
def test_decoding_gives_the_pictures_size_back(vae, images):
    assert vae.decode(vae.encode(images).mode()).shape == images.shape


@torch.no_grad()
def test_decoding_looks_at_the_whole_latent(vae):
    z = torch.randn(1, 4, 4, 6, generator=torch.Generator().manual_seed(0))
    moved = z.clone()
    moved[..., -1, -1] += 1
    assert (vae.decode(z) != vae.decode(moved))[..., 0, 0].any()  # by the attention in the middle


@torch.no_grad()
def test_log_variances_are_clamped(vae, images):
    vae.quant_conv.bias[4:] = torch.tensor([1e3, -1e3, 1e3, -1e3])
    logvar = vae.encode(images).logvar
    assert (logvar.amax().item(), logvar.amin().item()) == (20.0, -30.0)


def test_a_sample_is_the_mean_plus_scaled_noise():
    mean, logvar = torch.tensor([1.0, 2.0]), torch.tensor([0.0, 4.0]).log()
    posterior = Posterior(mean, logvar)
    assert posterior.sample(torch.tensor([3.0, -1.0])).tolist() == [1.0, 0.0]
    assert posterior.mode() is mean


def test_latents_are_scaled_to_the_unets_space_and_back(vae):
    z = torch.ones(1, 4, 1, 1)
    assert vae.to_latent(z).unique().item() == pytest.approx(0.18215)
    torch.testing.assert_close(vae.from_latent(vae.to_latent(z)), z)
