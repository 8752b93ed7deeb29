import dataclasses

import pytest

from controlnet.architecture import SD15, ControlConfig, ScheduleConfig, TextConfig, UNetConfig, VAEConfig


def test_sd15_takes_sizes_in_steps_of_64():
    assert SD15.multiple == 64


def test_sd15_has_thirteen_residuals():
    assert SD15.unet.residuals == 13


def test_residuals_are_one_a_skip_and_one_for_the_middle():
    assert UNetConfig(channel_mult=(1, 2, 4), num_res_blocks=1).residuals == 1 + 3 * 1 + 2 + 1


def test_factors_count_the_halvings():
    assert (SD15.vae.factor, SD15.control.factor, SD15.unet.downscale) == (8, 8, 8)
    assert ControlConfig(hint_channels=(16, 32, 64)).factor == 4


def test_the_numbers_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        SD15.unet.num_heads = 4


@pytest.mark.parametrize(
    ("build", "complaint"),
    [
        (lambda: UNetConfig(channel_mult=()), "channel_mult is"),
        (lambda: UNetConfig(channel_mult=(1, 0)), r"channel_mult is \(1, 0\)"),
        (lambda: UNetConfig(model_channels=48), "width is 48: it must be a multiple of norm_groups, which is 32"),
        (lambda: UNetConfig(num_heads=7), "width is 320: it must be a multiple of num_heads, which is 7"),
        (lambda: UNetConfig(model_channels=33, norm_groups=33, num_heads=33), "model_channels is 33"),
        (lambda: UNetConfig(num_heads=0), "num_heads, which is 0"),
        (lambda: UNetConfig(num_res_blocks=0), "num_res_blocks is 0"),
        (lambda: UNetConfig(attention_resolutions=(16,)), r"attention_resolutions \[16\].*\[1, 2, 4, 8\]"),
        (lambda: ControlConfig(hint_channels=()), "hint_channels is"),
        (lambda: VAEConfig(norm_groups=48), "norm_groups, which is 48"),
        (lambda: VAEConfig(scale_factor=0.0), r"scale_factor is 0\.0"),
        (lambda: TextConfig(num_attention_heads=5), "hidden_size is 768"),
        (lambda: TextConfig(vocab_size=600), r"bos_token_id is 49406: choose from 0\.\.599"),
        (lambda: TextConfig(hidden_act="relu"), "hidden_act is 'relu'"),
        (lambda: ScheduleConfig(prediction="x0"), "prediction is 'x0': choose 'eps' or 'v'"),
        (lambda: ScheduleConfig(timesteps=1), "timesteps is 1"),
        (lambda: ScheduleConfig(beta_end=0.0001), r"beta_end 0\.0001"),
    ],
)
def test_numbers_that_build_nothing_are_refused_by_name(build, complaint):
    with pytest.raises(ValueError, match=complaint):
        build()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"unet": UNetConfig(context_dim=1024)}, "unet.context_dim is 1024 and text.hidden_size is 768"),
        ({"unet": UNetConfig(in_channels=9)}, "unet.in_channels is 9 and vae.embed_dim is 4"),
        ({"unet": UNetConfig(out_channels=8)}, "unet.out_channels is 8 and vae.embed_dim is 4"),
        ({"control": ControlConfig(hint_channels=(16, 32, 64))}, "control.factor is 4 and vae.factor is 8"),
    ],
)
def test_parts_that_do_not_fit_each_other_are_refused(change, complaint):
    with pytest.raises(ValueError, match=complaint):
        dataclasses.replace(SD15, **change)
