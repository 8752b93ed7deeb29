"""The modules' parameters are those of the original SD 1.5 checkpoints, by name and shape."""

import pytest
import torch

from controlnet.architecture import SD15
from controlnet.control import ControlNet
from controlnet.text import TextEncoder
from controlnet.unet import UNet
from controlnet.vae import VAE
from tests.controlnet.golden import layout as layouts

PARTS = {
    "model.diffusion_model.": lambda: UNet(SD15.unet),
    "control_model.": lambda: ControlNet(SD15.unet, SD15.control),
    "first_stage_model.": lambda: VAE(SD15.vae),
    "cond_stage_model.transformer.text_model.": lambda: TextEncoder(SD15.text).transformer,
}


@pytest.mark.parametrize(
    ("prefix", "keys", "parameters"),
    [
        ("model.diffusion_model.", 686, 859_520_964),
        ("control_model.", 340, 361_279_120),
        ("first_stage_model.", 248, 83_653_863),
        ("cond_stage_model.transformer.text_model.", 196, 123_060_480),
    ],
)
def test_keys_and_parameters_are_as_many_as_the_originals(prefix, keys, parameters):
    with torch.device("meta"):
        weights = PARTS[prefix]().state_dict()
    assert (len(weights), sum(w.numel() for w in weights.values())) == (keys, parameters)


def test_names_and_shapes_are_the_originals():
    layout = layouts.read(layouts.FULL)
    with torch.device("meta"):
        ours = {
            prefix + name: tuple(weight.shape)
            for prefix, build in PARTS.items()
            for name, weight in build().state_dict().items()
        }
    constants = {name for name in layout if "." not in name or name.endswith(".position_ids")}
    assert len(constants) == 13 + 1  # the schedule's buffers and CLIP's count of positions
    assert ours == {name: shape for name, shape in layout.items() if name not in constants}
