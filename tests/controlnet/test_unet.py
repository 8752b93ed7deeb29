import math

import pytest
import torch
from torch import nn

from controlnet.architecture import UNetConfig
from controlnet.unet import GEGLU, Downsample, ResBlock, SpatialTransformer, UNet, timestep_embedding

CONFIG = UNetConfig(
    model_channels=16,
    channel_mult=(1, 2, 3),
    num_res_blocks=1,
    attention_resolutions=(2, 4),
    num_heads=2,
    context_dim=12,
    norm_groups=8,
)
T = torch.tensor([981, 441, 1, 500])


def awake(net: nn.Module) -> nn.Module:
    """Fill what starts at zero, zero convolutions above all: with them left at zero most mistakes do not show."""
    for parameter in net.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.2)
    return net.eval()


@pytest.fixture
def unet():
    torch.manual_seed(0)
    return awake(UNet(CONFIG))


@pytest.fixture
def rows():
    """Four different rows: x, context."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(4, 4, 8, 12, generator=generator), torch.randn(4, 5, 12, generator=generator)


@pytest.fixture
def control(unet, rows):
    x, context = rows
    with torch.no_grad():
        shapes = [f.shape for f in unet.descend(x, unet.embed_time(T), context)]
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def test_cosines_come_first():
    waves = timestep_embedding(torch.tensor([0, 3]), 4)
    angles = torch.tensor([3.0, 3.0 / 100])
    torch.testing.assert_close(waves[0], torch.tensor([1.0, 1.0, 0.0, 0.0]))
    torch.testing.assert_close(waves[1], torch.cat([angles.cos(), angles.sin()]))


@torch.no_grad()
def test_neighbouring_timesteps_stay_apart_in_bfloat16(unet):
    emb = unet.bfloat16().embed_time(torch.tensor([998, 999]))
    assert emb.dtype == torch.bfloat16
    assert not torch.equal(emb[0], emb[1])


@torch.no_grad()
def test_a_new_unet_predicts_zero(rows):
    x, context = rows
    assert not UNet(CONFIG)(x, T, context).any()


def test_group_norms_have_the_originals_two_epsilons(unet):
    before_attention = {m.norm.eps for m in unet.modules() if isinstance(m, SpatialTransformer)}
    in_blocks = {m.in_layers[0].eps for m in unet.modules() if isinstance(m, ResBlock)}
    in_blocks |= {m.out_layers[0].eps for m in unet.modules() if isinstance(m, ResBlock)}
    assert (before_attention, in_blocks, unet.out[0].eps) == ({1e-6}, {1e-5}, 1e-5)


def test_attention_is_at_the_resolutions_that_were_asked_for(unet):
    has = [any(isinstance(m, SpatialTransformer) for m in block) for block in unet.input_blocks]
    #              in     1x     down   2x    down   4x
    assert has == [False, False, False, True, False, True]


@torch.no_grad()
def test_the_gate_is_the_exact_gelu():
    layer = GEGLU(2, 1)
    layer.proj.weight.copy_(torch.eye(2))
    layer.proj.bias.zero_()
    gated = layer(torch.tensor([[3.0, 2.0]])).item()
    assert gated == pytest.approx(3 * 2 * (1 + math.erf(2 / math.sqrt(2))) / 2, rel=1e-6)  # "tanh" is 6e-5 off


@torch.no_grad()
def test_downsampling_pads_all_sides():
    down = Downsample(1)
    nn.init.ones_(down.op.weight)
    nn.init.zeros_(down.op.bias)
    ones = down(torch.ones(1, 1, 4, 4))[0, 0]
    assert ones.tolist() == [[4, 6], [6, 9]]  # the first window hangs over the top and the left


@torch.no_grad()
def test_each_row_has_its_own_timestep(unet, rows):
    x, context = rows
    together = unet(x, T, context)
    alone = torch.cat([unet(x[i : i + 1], T[i : i + 1], context[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    elsewhere = unet(x, torch.tensor([981, 441, 2, 500]), context)
    assert [torch.equal(a, b) for a, b in zip(together, elsewhere, strict=True)] == [True, True, False, True]


@torch.no_grad()
def test_a_rows_bits_depend_neither_on_its_neighbours_nor_on_its_place(unet, rows, control):
    x, context = rows
    together = unet(x, T, context, control)
    for order in ([3, 2, 1, 0], [1, 1, 1, 1], [2, 0, 0, 3]):
        moved = unet(x[order], T[order], context[order], [c[order] for c in control])
        assert torch.equal(moved, together[order])


@torch.no_grad()
def test_rows_of_zeros_are_no_control(unet, rows):
    x, context = rows
    zeros = [torch.zeros_like(f) for f in unet.descend(x, unet.embed_time(T), context)]
    assert torch.equal(unet(x, T, context, zeros), unet(x, T, context))


@torch.no_grad()
def test_every_residual_reaches_the_prediction(unet, rows, control):
    x, context = rows
    plain = unet(x, T, context)
    for index in range(len(control)):
        single = [c if i == index else torch.zeros_like(c) for i, c in enumerate(control)]
        assert not torch.allclose(unet(x, T, context, single), plain), index


@torch.no_grad()
def test_inputs_are_left_as_they_were(unet, rows, control):
    x, context = rows
    given = [x, T, context, *control]
    before = [tensor.clone() for tensor in given]
    unet(x, T, context, control)
    assert len(control) == unet.config.residuals
    assert all(torch.equal(a, b) for a, b in zip(given, before, strict=True))


def test_a_wrong_number_of_residuals_is_refused(unet, rows, control):
    x, context = rows
    with pytest.raises(ValueError, match="control has 6 residuals: this UNet takes 7"):
        unet(x, T, context, control[:-1])


@torch.no_grad()
def test_channels_last_changes_the_layout_only(unet, rows, control):
    x, context = rows
    expected = unet(x, T, context, control)
    unet = unet.to(memory_format=torch.channels_last)
    answer = unet(x.to(memory_format=torch.channels_last), T, context, control)
    assert answer.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(answer, expected, rtol=1e-4, atol=1e-5)


def test_autocast_to_bfloat16_trains(unet, rows):
    x, context = rows
    with torch.autocast("cpu", torch.bfloat16):
        prediction = unet(x, T, context)
    torch.testing.assert_close(prediction.float(), unet(x, T, context), rtol=0.1, atol=0.1)
    prediction.float().square().mean().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in unet.parameters())
