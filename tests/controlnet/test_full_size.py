"""SD 1.5 at full size with random weights: it is built, stored, mapped and stepped by the code the small model uses."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import torch
from torch import nn

from controlnet.architecture import SD15
from controlnet.bundle import ControlWeights, write_bundle
from controlnet.control import ControlNet
from controlnet.pipeline import Control, ImageSpec, Pipeline
from controlnet.text import TextEncoder
from controlnet.unet import UNet
from controlnet.vae import VAE
from tests.networks import write_tokenizer

pytestmark = [pytest.mark.full_size, pytest.mark.timeout(1800)]


def weights(net: nn.Module) -> dict[str, torch.Tensor]:
    """Every tensor small and none zero; float16, as a bundle stores them."""
    generator = torch.Generator().manual_seed(0)
    return {
        key: (torch.randn(tensor.shape, generator=generator) * 0.02 + (tensor.dim() == 1)).half()
        for key, tensor in net.state_dict().items()
    }


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    folder = tmp_path_factory.mktemp("sd15")
    with torch.device("meta"):
        unet, vae, text = UNet(SD15.unet), VAE(SD15.vae), TextEncoder(SD15.text)
        control = ControlNet(SD15.unet, SD15.control)
    words = folder / "words"
    words.mkdir()
    bundle = write_bundle(
        folder / "bundle",
        architecture=SD15,
        unet=weights(unet),
        vae=weights(vae),
        text=weights(text),
        controls={"canny": ControlWeights(weights(control), "canny", {})},
        tokenizer=write_tokenizer(words),
        name="sd15-random",
        version="1",
        native_size=(512, 512),
        licence="CC0-1.0",
        training_data="none: random numbers",
        metrics={},
        created=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return Pipeline.load(bundle)


def test_a_step_with_control_moves_every_image_and_stays_finite(pipeline: Pipeline) -> None:
    hint = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(1))
    spec = ImageSpec("a gear", 64, 64, steps=2, guidance=7.5, controls=(Control("canny", hint),))
    states = pipeline.encode([spec])
    stepped = pipeline.step(states)
    assert stepped[0].latent.isfinite().all()
    assert not torch.equal(stepped[0].latent, states[0].latent)
    assert pipeline.decode(stepped)[0].shape == (64, 64, 3)


def test_the_control_is_connected(pipeline: Pipeline) -> None:
    hint = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(1))
    plain = ImageSpec("a gear", 64, 64, steps=2, guidance=1.0)
    steered = ImageSpec("a gear", 64, 64, steps=2, guidance=1.0, controls=(Control("canny", hint),))
    (without,), (with_control,) = (pipeline.step(pipeline.encode([spec])) for spec in (plain, steered))
    assert not torch.allclose(without.latent, with_control.latent, rtol=1e-3)


def test_it_takes_what_the_papers_model_takes(pipeline: Pipeline) -> None:
    counts = [sum(p.numel() for p in net.parameters()) for net in (pipeline.unet, pipeline.controls["canny"])]
    assert counts == [859_520_964, 361_279_120]
