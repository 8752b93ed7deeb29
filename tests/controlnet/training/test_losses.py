import pytest
import torch

from controlnet.architecture import ScheduleConfig
from controlnet.diffusion import Schedule
from controlnet.training.losses import ReconstructionLoss, denoising_loss, min_snr_weights


@pytest.mark.parametrize("prediction", ["eps", "v"])
def test_min_snr_weights_make_every_prediction_the_same_loss_of_x0(prediction):
    schedule = Schedule(ScheduleConfig(prediction=prediction))
    t = torch.tensor([5, 300, 990])
    x0, noise = torch.randn(2, 3, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = schedule.add_noise(x0, noise, t)
    target = schedule.target(x0, noise, t)
    output = target + 0.1
    of_output = min_snr_weights(schedule.alphas_cumprod, t, 5.0, prediction) * (output - target).square().mean(
        (1, 2, 3)
    )
    snr = schedule.alphas_cumprod[t] / (1 - schedule.alphas_cumprod[t])
    of_x0 = snr.clamp(max=5.0) * (schedule.to_x0(x, output, t) - x0).square().mean((1, 2, 3))
    torch.testing.assert_close(of_output, of_x0, rtol=1e-5, atol=1e-9)


def test_an_unknown_prediction_is_refused_with_the_choices():
    with pytest.raises(ValueError, match=r"'x0'.*'eps' or 'v'"):
        min_snr_weights(torch.tensor([0.5]), torch.tensor([0]), 5.0, "x0")


def test_the_denoising_loss_weighs_each_image():
    output = torch.stack([torch.ones(1, 2, 2), 2 * torch.ones(1, 2, 2)])
    loss = denoising_loss(output, torch.zeros_like(output), torch.tensor([1.0, 0.5]))
    assert loss.item() == pytest.approx((1 * 1 + 0.5 * 4) / 2)


def reconstruction(decoded, mask=None):
    images, zeros = torch.zeros(1, 3, 8, 8), torch.zeros(1, 4, 2, 2)
    return ReconstructionLoss()(decoded, images, torch.zeros(1, 1, 8, 8) if mask is None else mask, zeros, zeros)


def test_a_perfect_reconstruction_under_a_unit_posterior_costs_nothing():
    assert reconstruction(torch.zeros(1, 3, 8, 8)).item() == 0


def test_a_wrong_hue_costs_more_than_as_wrong_a_brightness():
    grey, hue = torch.full((1, 3, 8, 8), 0.1), torch.zeros(1, 3, 8, 8)
    hue[:, 0], hue[:, 2] = 0.1, -0.1
    assert reconstruction(hue) > 1.2 * reconstruction(grey)


def test_an_error_inside_the_mask_costs_more():
    mask, inside, outside = torch.zeros(1, 1, 8, 8), torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8)
    mask[..., :4], inside[..., :4], outside[..., 4:] = 1, 0.1, 0.1
    assert reconstruction(inside, mask) > 2 * reconstruction(outside, mask)
