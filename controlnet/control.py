"""ControlNet: a trainable copy of the UNet's first half that steers it with a picture.

Zhang, Rao & Agrawala 2023, "Adding Conditional Control to Text-to-Image Diffusion Models",
section 3.1. The copy sees the noisy latent plus the encoded hint; what it has to say reaches the
UNet through 1x1 convolutions that start at zero, so that training begins from an unharmed model:

    hint [B,3,H,W] -> input_hint_block -> [B,C0,h,w]
    x [R,4,h,w] -> input_blocks (+ hint after the first) -> middle_block
                        | zero_convs                         | middle_block_out
                        12 residuals                         1 residual (SD 1.5)

Attribute names are those of the original checkpoints (`control_model.*`).
"""

from itertools import pairwise

from torch import Tensor, nn

from controlnet.architecture import ControlConfig, UNetConfig
from controlnet.unet import Trunk, UNet, zeroed


class ControlNet(Trunk):
    """The trunk of a UNet, a hint encoder, and one zero convolution a residual."""

    def __init__(self, unet_config: UNetConfig, control_config: ControlConfig) -> None:
        """Build for UNets of `unet_config`; the trunk's weights are random (see `from_unet`)."""
        super().__init__(unet_config)
        self.control_config = control_config
        self.zero_convs = nn.ModuleList(nn.Sequential(zeroed(nn.Conv2d(width, width, 1))) for width in self.skip_widths)
        self.middle_block_out = nn.Sequential(zeroed(nn.Conv2d(self.skip_widths[-1], self.skip_widths[-1], 1)))
        self.input_hint_block = hint_encoder(control_config, unet_config.model_channels)

    @classmethod
    def from_unet(cls, unet: UNet, control_config: ControlConfig) -> "ControlNet":
        """Start from a trained UNet: its trunk copied, its device and dtype, zero residuals."""
        net = cls(unet.config, control_config).to(next(unet.parameters()))
        net.time_embed.load_state_dict(unet.time_embed.state_dict())
        net.input_blocks.load_state_dict(unet.input_blocks.state_dict())
        net.middle_block.load_state_dict(unet.middle_block.state_dict())
        return net

    def embed(self, hint: Tensor) -> Tensor:
        """Encode hints [B,3,H,W] in [0,1] to [B,C0,h,w].

        The result depends neither on the timestep nor on the noise: compute it once a picture.
        """
        embedded: Tensor = self.input_hint_block(hint)
        return embedded

    def forward(self, x: Tensor, embedded: Tensor, t: Tensor, context: Tensor) -> tuple[Tensor, ...]:
        """Answer the residuals for a UNet step on the same `x`, `t` and `context`.

        Args:
            x: Noisy latents [R,C,h,w].
            embedded: What `embed` answered for each row's hint [R,C0,h,w].
            t: Timesteps [R], int64, one a row.
            context: Text features [R,T,D].

        Returns:
            `config.residuals` tensors, not scaled: one for each skip, in the order of the input
            blocks, and the middle's last.
        """
        features = self.descend(x, self.embed_time(t), context, embedded)
        outlets = [*self.zero_convs, self.middle_block_out]
        return tuple(outlet(f) for outlet, f in zip(outlets, features, strict=True))


def hint_encoder(config: ControlConfig, width: int) -> nn.Sequential:
    """Build the hint encoder: two convolutions a resolution, the last of them strided.

    For (16, 32, 96, 256) these are 3-16, 16-16, 16-32 /2, 32-32, 32-96 /2, 96-96, 96-256 /2 and
    256-`width`, which starts at zero; SiLU between them gives them the numbers 0, 2, ... 14.
    """
    first, last = config.hint_channels[0], config.hint_channels[-1]
    layers: list[nn.Module] = [
        nn.Conv2d(config.conditioning_channels, first, 3, padding=1),
        nn.SiLU(),
    ]
    for before, after in pairwise(config.hint_channels):
        layers += [
            nn.Conv2d(before, before, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(before, after, 3, padding=1, stride=2),
            nn.SiLU(),
        ]
    return nn.Sequential(*layers, zeroed(nn.Conv2d(last, width, 3, padding=1)))
