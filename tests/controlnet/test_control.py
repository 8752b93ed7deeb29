import pytest
import torch
from torch import nn

from controlnet.architecture import SD15, ControlConfig, UNetConfig
from controlnet.control import ControlNet, hint_encoder
from controlnet.unet import UNet

CONFIG = UNetConfig(
    model_channels=16,
    channel_mult=(1, 2, 3),
    num_res_blocks=1,
    attention_resolutions=(2, 4),
    num_heads=2,
    context_dim=12,
    norm_groups=8,
)
CONTROL = ControlConfig(hint_channels=(4, 8, 12))
T = torch.tensor([900, 20])


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
def net():
    torch.manual_seed(1)
    return awake(ControlNet(CONFIG, CONTROL))


@pytest.fixture
def rows():
    """Two rows: x, context, hint."""
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(2, 4, 8, 12, generator=generator),
        torch.randn(2, 5, 12, generator=generator),
        torch.rand(2, 3, 32, 48, generator=generator),
    )


def convolutions(encoder: nn.Sequential) -> list[tuple[int, int, int]]:
    """In, out, stride of each convolution."""
    return [(m.in_channels, m.out_channels, m.stride[0]) for m in encoder if isinstance(m, nn.Conv2d)]


def test_the_hint_encoder_is_the_originals():
    encoder = hint_encoder(SD15.control, 320)
    assert convolutions(encoder) == [
        (3, 16, 1),
        (16, 16, 1),
        (16, 32, 2),
        (32, 32, 1),
        (32, 96, 2),
        (96, 96, 1),
        (96, 256, 2),
        (256, 320, 1),
    ]
    assert [i for i, m in enumerate(encoder) if isinstance(m, nn.SiLU)] == [1, 3, 5, 7, 9, 11, 13]


def test_a_shorter_hint_encoder_has_fewer_strides():
    encoder = hint_encoder(ControlConfig(hint_channels=(16, 32, 64)), 48)
    assert convolutions(encoder) == [(3, 16, 1), (16, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 48, 1)]


@torch.no_grad()
def test_a_new_controlnet_says_nothing(unet, rows):
    x, context, hint = rows
    net = ControlNet.from_unet(unet, CONTROL)
    residuals = net(x, net.embed(hint), T, context)
    assert len(residuals) == CONFIG.residuals
    assert not any(residual.any() for residual in residuals)


def test_the_trunk_is_copied_not_shared(unet):
    net = ControlNet.from_unet(unet, CONTROL)
    copied = net.state_dict()
    trunk = {k: v for k, v in unet.state_dict().items() if not k.startswith("out")}
    assert trunk.keys() == {k for k in copied if not k.startswith(("zero_convs", "middle_block_out", "input_hint"))}
    assert all(torch.equal(copied[k], v) and copied[k].data_ptr() != v.data_ptr() for k, v in trunk.items())


def test_the_copy_has_the_unets_dtype(unet):
    net = ControlNet.from_unet(unet.bfloat16(), CONTROL)
    assert {parameter.dtype for parameter in net.parameters()} == {torch.bfloat16}


@torch.no_grad()
def test_residuals_have_the_shapes_of_what_they_are_added_to(unet, rows):
    x, context, hint = rows
    net = ControlNet.from_unet(unet, CONTROL)
    features = unet.descend(x, unet.embed_time(T), context)
    residuals = net(x, net.embed(hint), T, context)
    assert [r.shape for r in residuals] == [f.shape for f in features]


@torch.no_grad()
def test_every_residual_follows_the_hint(net, rows):
    x, context, hint = rows
    seen = net(x, net.embed(hint), T, context)
    other = net(x, net.embed(1 - hint), T, context)
    assert not any(torch.allclose(a, b) for a, b in zip(seen, other, strict=True))


@torch.no_grad()
def test_a_trained_controlnet_steers_the_unet(unet, net, rows):
    x, context, hint = rows
    steered = [unet(x, T, context, net(x, net.embed(h), T, context)) for h in (hint, 1 - hint)]
    assert not torch.allclose(steered[0], steered[1])


@torch.no_grad()
def test_the_hint_is_added_once_after_the_first_convolution(net, rows):
    x, context, hint = rows
    embedded = net.embed(hint)
    first = net(x, embedded, T, context)[0]
    conv_in = net.input_blocks[0][0]
    torch.testing.assert_close(first, net.zero_convs[0](conv_in(x) + embedded))
    # Lower the hint and raise the convolution before it by as much: all the rest must stay.
    seen = net(x, embedded, T, context)
    conv_in.bias += 0.25
    for a, b in zip(seen, net(x, embedded - 0.25, T, context), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
