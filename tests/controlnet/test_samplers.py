from contextlib import nullcontext

import pytest
import torch

from controlnet.architecture import ScheduleConfig
from controlnet.diffusion import Schedule
from controlnet.samplers import SAMPLERS, advance, ddim, dpmpp_2m, euler

SCHEDULE = Schedule(ScheduleConfig())
THEIR_NAMES = {"eps": "epsilon", "v": "v_prediction"}


def peer(name, prediction):
    """Return diffusers' scheduler in the configuration that the sampler claims to equal."""
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler  # takes seconds

    numbers = {
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "timestep_spacing": "leading",
        "steps_offset": 1,
        "prediction_type": THEIR_NAMES[prediction],
    }
    match name:
        case "ddim":
            return DDIMScheduler(**numbers, clip_sample=False, set_alpha_to_one=False)
        case "euler":
            return EulerDiscreteScheduler(**numbers)
        case "dpmpp_2m":
            return DPMSolverMultistepScheduler(**numbers)
    raise AssertionError(name)


def model(x, t):
    """Stand in for a UNet: bounded, and dependent on all channels and on the timestep."""
    mixing = torch.randn(4, 4, generator=torch.Generator().manual_seed(1))
    return torch.tanh(torch.einsum("ij,rjhw->rihw", mixing, x) / 2 + t / 1000)


def start():
    return torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))


def run(schedule, plan, x, noises=None):
    previous = torch.zeros_like(x)
    for step, (t, coefficients) in enumerate(zip(plan.timesteps, plan.coefficients, strict=True)):
        x0 = schedule.to_x0(x, model(x, t), t.expand(2))
        noise = torch.zeros_like(x) if noises is None else noises[step]
        x = advance(x, x0, previous, noise, coefficients.expand(2, 4))
        previous = x0
    return x


def difference(ours, theirs):
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers under numpy 2
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 20, 30])
@pytest.mark.parametrize("prediction", ["eps", "v"])
@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_a_run_equals_diffusers(name, prediction, steps):
    theirs = peer(name, prediction)
    theirs.set_timesteps(steps)
    schedule = Schedule(ScheduleConfig(prediction=prediction))
    plan = SAMPLERS[name](schedule, steps)
    assert plan.timesteps.tolist() == theirs.timesteps.tolist()

    x = start() * theirs.init_noise_sigma
    for t in theirs.timesteps:
        x = theirs.step(model(theirs.scale_model_input(x, t), t), t, x).prev_sample
    assert difference(run(schedule, plan, start()), x) < 5e-6


@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_ddim_with_fresh_noise_equals_diffusers(eta):
    theirs = peer("ddim", "eps")
    theirs.set_timesteps(10)
    noises = torch.randn(10, 2, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    x = start()
    for t, noise in zip(theirs.timesteps, noises, strict=True):
        x = theirs.step(model(x, t), t, x, eta=eta, variance_noise=noise).prev_sample
    assert difference(run(SCHEDULE, ddim(SCHEDULE, 10, eta=eta), start(), noises), x) < 5e-6


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_a_plan_is_one_line_a_step(name):
    plan = SAMPLERS[name](SCHEDULE, 30)
    assert (plan.timesteps.shape, plan.timesteps.dtype) == ((30,), torch.int64)
    assert (plan.coefficients.shape, plan.coefficients.dtype) == ((30, 4), torch.float32)
    assert plan.coefficients.isfinite().all()


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_a_perfect_model_is_followed_to_its_picture(name):
    x0, noise = start(), start().flip(0)
    plan = SAMPLERS[name](SCHEDULE, 8)
    x = SCHEDULE.add_noise(x0, noise, plan.timesteps[:1].expand(2))
    for coefficients in plan.coefficients:
        x = advance(x, x0, x0, torch.zeros_like(x), coefficients.expand(2, 4))
    left = SCHEDULE.add_noise(x0, noise, torch.zeros(2, dtype=torch.int64)) if name == "ddim" else x0
    torch.testing.assert_close(x, left, rtol=1e-4, atol=1e-5)


def test_ddim_ends_at_the_first_noise_level_and_not_at_none():
    a, last = SCHEDULE.alphas_cumprod, ddim(SCHEDULE, 20).coefficients[-1]
    kept = ((1 - a[0]) / (1 - a[1])).sqrt()
    expected = torch.stack([kept, a[0].sqrt() - kept * a[1].sqrt(), a.new_zeros(()), a.new_zeros(())])
    torch.testing.assert_close(last, expected.float())


@pytest.mark.parametrize("plan", [euler(SCHEDULE, 5), dpmpp_2m(SCHEDULE, 5)], ids=["euler", "dpmpp_2m"])
def test_the_others_end_on_the_picture(plan):
    assert plan.coefficients[-1].tolist() == [0, 1, 0, 0]


def test_only_dpmpp_2m_looks_back_and_not_at_its_first_step():
    looks_back = {name: SAMPLERS[name](SCHEDULE, 5).coefficients[:, 2] != 0 for name in SAMPLERS}
    assert looks_back["dpmpp_2m"].tolist() == [False, True, True, True, False]
    assert not looks_back["ddim"].any()
    assert not looks_back["euler"].any()


def test_twenty_steps_begin_at_951():
    visited = list(range(951, 0, -50))
    assert ddim(SCHEDULE, 20).timesteps.tolist() == visited
    assert ddim(SCHEDULE, 20, timesteps="original").timesteps.tolist() == visited


@pytest.mark.parametrize(("asked", "taken", "first"), [(7, 8, 995), (30, 31, 991), (60, 63, 993)])
def test_the_original_takes_more_steps_than_were_asked_for(asked, taken, first):
    plan = ddim(SCHEDULE, asked, timesteps="original")
    assert (len(plan.timesteps), plan.timesteps[0].item()) == (taken, first)


def test_the_exact_list_has_as_many_steps_as_were_asked_for():
    assert [len(ddim(SCHEDULE, steps).timesteps) for steps in range(1, 1000)] == list(range(1, 1000))


def test_the_original_list_is_refused_where_the_original_fails():
    overruns = {steps for steps in range(1, 151) if max(range(0, 1000, 1000 // steps)) + 1 > 999}
    assert overruns == {3, 9, 27, 36, 37, *range(101, 112)}
    for steps in range(1, 151):
        refusal = pytest.raises(ValueError, match=f"steps is {steps}: .* reaches 1000")
        with refusal if steps in overruns else nullcontext():
            ddim(SCHEDULE, steps, timesteps="original")


@pytest.mark.parametrize(
    ("build", "complaint"),
    [
        (lambda: ddim(SCHEDULE, 0), r"steps is 0: choose 1\.\.999"),
        (lambda: ddim(SCHEDULE, 1000), "steps is 1000"),
        (lambda: ddim(SCHEDULE, 1001, timesteps="original"), "steps is 1001"),
        (lambda: euler(SCHEDULE, -1), "steps is -1"),
        (lambda: dpmpp_2m(SCHEDULE, 999), r"steps is 999: choose 1\.\.998"),
        (lambda: ddim(SCHEDULE, 20, eta=1.5), r"eta is 1\.5"),
        (lambda: ddim(SCHEDULE, 20, timesteps="trailing"), "timesteps is 'trailing': choose 'exact' or 'original'"),
    ],
)
def test_what_has_no_plan_is_refused(build, complaint):
    with pytest.raises(ValueError, match=complaint):
        build()


def test_rows_of_different_samplers_step_together():
    x, x0, previous, noise = (torch.randn(3, 4, 2, 2, generator=torch.Generator().manual_seed(i)) for i in range(4))
    lines = torch.stack(
        [
            ddim(SCHEDULE, 20, eta=1.0).coefficients[3],
            dpmpp_2m(SCHEDULE, 8).coefficients[5],
            euler(SCHEDULE, 5).coefficients[0],
        ]
    )
    together = advance(x, x0, previous, noise, lines)
    for i, (c0, c1, c2, c3) in enumerate(lines):
        assert torch.equal(together[i], c0 * x[i] + c1 * x0[i] + c2 * previous[i] + c3 * noise[i])
