import torch

from controlnet.control import ControlNet
from controlnet.text import TextEncoder
from controlnet.training.stages import snapshot
from controlnet.unet import UNet
from controlnet.vae import VAE
from tests.networks import TINY


def test_a_snapshot_is_where_the_networks_learn_and_leaves_them_as_they_are():
    vae = VAE(TINY.vae)  # only encodes before training, so it stays on the CPU
    with torch.device("meta"):
        unet, text, control = UNet(TINY.unet), TextEncoder(TINY.text), ControlNet(TINY.unet, TINY.control)
    pipeline = snapshot(TINY, unet, vae, text, None, {"canny": control})
    assert pipeline.device.type == "meta"
    nets = (pipeline.unet, pipeline.vae, pipeline.text, pipeline.controls["canny"])
    assert {weight.device.type for net in nets for weight in net.parameters()} == {"meta"}
    assert all(weight.requires_grad for weight in (*unet.parameters(), *control.parameters()))
    assert next(vae.parameters()).device.type == "cpu"
