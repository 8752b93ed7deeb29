import pytest
import torch

from controlnet.architecture import ScheduleConfig
from controlnet.diffusion import Schedule

T = torch.tensor([0, 999, 500])
PREDICTIONS = ["eps", "v"]


@pytest.fixture
def pair():
    """Clean latents and noise, three rows."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(3, 4, 2, 2, generator=generator) for _ in range(2)]


@pytest.mark.parametrize(
    ("t", "value"), [(0, 0.99915), (1, 0.9982960), (951, 0.00815505), (981, 0.00577550), (999, 0.00466010)]
)
def test_the_table_is_the_originals(t, value):
    assert Schedule(ScheduleConfig()).alphas_cumprod[t].item() == pytest.approx(value, rel=1e-5)


def test_the_table_is_in_double_precision():
    table = Schedule(ScheduleConfig()).alphas_cumprod
    assert (table.dtype, table.shape) == (torch.float64, (1000,))


def test_noise_is_added_by_row(pair):
    x0, noise = pair
    schedule = Schedule(ScheduleConfig())
    x = schedule.add_noise(x0, noise, T)
    for row, a in enumerate(schedule.alphas_cumprod[T].float()):
        torch.testing.assert_close(x[row], a.sqrt() * x0[row] + (1 - a).sqrt() * noise[row], rtol=1e-4, atol=1e-5)


def test_the_target_is_the_noise(pair):
    x0, noise = pair
    assert torch.equal(Schedule(ScheduleConfig(prediction="eps")).target(x0, noise, T), noise)


def test_the_target_is_the_velocity(pair):
    x0, noise = pair
    schedule = Schedule(ScheduleConfig(prediction="v"))
    velocity = schedule.target(x0, noise, T)
    for row, a in enumerate(schedule.alphas_cumprod[T].float()):
        torch.testing.assert_close(
            velocity[row], a.sqrt() * noise[row] - (1 - a).sqrt() * x0[row], rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_target_leads_back_to_the_picture(pair, prediction):
    x0, noise = pair
    schedule = Schedule(ScheduleConfig(prediction=prediction))
    x, target = schedule.add_noise(x0, noise, T), schedule.target(x0, noise, T)
    torch.testing.assert_close(schedule.to_x0(x, target, T), x0, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_latents_dtype_is_kept(pair, prediction):
    x, output = (tensor.bfloat16() for tensor in pair)
    assert Schedule(ScheduleConfig(prediction=prediction)).to_x0(x, output, T).dtype == torch.bfloat16
