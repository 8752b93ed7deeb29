"""The autoencoder: pictures [B,3,H,W] in [-1,1] to latents [B,4,H/8,W/8] and back.

Diffusion happens in the latent space of this KL-regularised autoencoder (Rombach et al. 2022,
"High-Resolution Image Synthesis with Latent Diffusion Models", section 3.1). Attribute names are
those of the original checkpoints (`first_stage_model.*`), so no key is ever renamed.

    pictures -> encoder -> quant_conv -> Posterior(mean, logvar) -> to_latent -> the UNet's space
    the UNet's space -> from_latent -> post_quant_conv -> decoder -> pictures
"""

from dataclasses import dataclass

from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from controlnet.architecture import VAEConfig


@dataclass(frozen=True, slots=True)
class Posterior:
    """The Gaussian that the encoder answers with, both [B,z,h,w], not yet scaled."""

    mean: Tensor
    logvar: Tensor

    def mode(self) -> Tensor:
        """Return the most likely latent."""
        return self.mean

    def sample(self, noise: Tensor) -> Tensor:
        """Return the latent that standard normal `noise` of the mean's shape selects."""
        return self.mean + (0.5 * self.logvar).exp() * noise


class VAE(nn.Module):
    """Encoder and decoder with the 1x1 convolutions between them and the latent."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.quant_conv = nn.Conv2d(2 * config.z_channels, 2 * config.embed_dim, 1)
        self.post_quant_conv = nn.Conv2d(config.embed_dim, config.z_channels, 1)

    def encode(self, images: Tensor) -> Posterior:
        """Encode pictures [B,3,H,W] in [-1,1]; H and W divisible by `config.factor`."""
        mean, logvar = self.quant_conv(self.encoder(images)).chunk(2, dim=1)
        return Posterior(mean, logvar.clamp(-30.0, 20.0))

    def decode(self, z: Tensor) -> Tensor:
        """Decode unscaled latents [B,z,h,w] to pictures [B,3,H,W], about [-1,1], not clamped."""
        images: Tensor = self.decoder(self.post_quant_conv(z))
        return images

    def to_latent(self, z: Tensor) -> Tensor:
        """Scale what `encode` answered to the unit variance that the UNet works in."""
        return z * self.config.scale_factor

    def from_latent(self, latent: Tensor) -> Tensor:
        """Undo `to_latent`, for `decode`."""
        return latent / self.config.scale_factor


class Encoder(nn.Module):
    """Pictures [B,3,H,W] to [B,2z,h,w]: mean and log variance side by side."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        groups = config.norm_groups
        widths = [multiple * config.channels for multiple in config.channel_mult]
        last = len(widths) - 1
        self.conv_in = nn.Conv2d(config.in_channels, config.channels, 3, padding=1)
        self.down = nn.ModuleList(
            DownLevel(before, width, config.num_res_blocks, groups, halve=level != last)
            for level, (before, width) in enumerate(zip([config.channels, *widths], widths, strict=False))
        )
        self.mid = Middle(widths[-1], groups)
        self.norm_out = _norm(groups, widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], 2 * config.z_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B,2z,h,w] of pictures [B,3,H,W]."""
        h: Tensor = self.conv_in(x)
        for level in self.down:
            h = level(h)
        h = self.conv_out(F.silu(self.norm_out(self.mid(h))))
        return h


class Decoder(nn.Module):
    """Latents [B,z,h,w] to pictures [B,3,H,W]."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        groups = config.norm_groups
        widths = [multiple * config.channels for multiple in config.channel_mult]
        self.conv_in = nn.Conv2d(config.z_channels, widths[-1], 3, padding=1)
        self.mid = Middle(widths[-1], groups)
        # `up` is numbered by resolution like `down`, so it runs from its end: the level before
        # (in the order of running) is the next one in the list.
        self.up = nn.ModuleList(
            UpLevel(before, width, config.num_res_blocks + 1, groups, double=level != 0)
            for level, (before, width) in enumerate(zip([*widths[1:], widths[-1]], widths, strict=True))
        )
        self.norm_out = _norm(groups, widths[0])
        self.conv_out = nn.Conv2d(widths[0], config.in_channels, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """Return pictures [B,3,H,W] of latents [B,z,h,w]."""
        h: Tensor = self.mid(self.conv_in(z))
        for level in reversed(self.up):
            h = level(h)
        h = self.conv_out(F.silu(self.norm_out(h)))
        return h


class DownLevel(nn.Module):
    """Residual blocks from `before` to `width` channels, then half the resolution (not at the last level)."""

    def __init__(self, before: int, width: int, blocks: int, groups: int, *, halve: bool) -> None:
        super().__init__()
        self.block = _blocks(before, width, blocks, groups)
        self.downsample = Downsample(width) if halve else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return [B,width,H/2,W/2] (or [B,width,H,W] at the last level)."""
        for block in self.block:
            x = block(x)
        x = self.downsample(x)
        return x


class UpLevel(nn.Module):
    """Residual blocks from `before` to `width` channels, then twice the resolution (not at the picture's own)."""

    def __init__(self, before: int, width: int, blocks: int, groups: int, *, double: bool) -> None:
        super().__init__()
        self.block = _blocks(before, width, blocks, groups)
        self.upsample = Upsample(width) if double else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return [B,width,2H,2W] (or [B,width,H,W] at the picture's resolution)."""
        for block in self.block:
            x = block(x)
        x = self.upsample(x)
        return x


class Middle(nn.Module):
    """Block, attention, block at the lowest resolution: the one place that sees all pixels."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.block_1 = ResBlock(width, width, groups)
        self.attn_1 = Attention(width, groups)
        self.block_2 = ResBlock(width, width, groups)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape."""
        h: Tensor = self.block_2(self.attn_1(self.block_1(x)))
        return h


class ResBlock(nn.Module):
    """Two normalised convolutions from `before` to `width` channels, and a shortcut."""

    def __init__(self, before: int, width: int, groups: int) -> None:
        super().__init__()
        self.norm1 = _norm(groups, before)
        self.conv1 = nn.Conv2d(before, width, 3, padding=1)
        self.norm2 = _norm(groups, width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.nin_shortcut = nn.Conv2d(before, width, 1) if before != width else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return [B,width,H,W] of [B,before,H,W]."""
        h: Tensor = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        h = h + self.nin_shortcut(x)
        return h


class Attention(nn.Module):
    """Self attention of one head over all pixels; the projections are 1x1 convolutions."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.norm = _norm(groups, width)
        self.q = nn.Conv2d(width, width, 1)
        self.k = nn.Conv2d(width, width, 1)
        self.v = nn.Conv2d(width, width, 1)
        self.proj_out = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape."""
        normed = self.norm(x)
        q, k, v = (rearrange(project(normed), "b c h w -> b 1 (h w) c") for project in (self.q, self.k, self.v))
        seen = F.scaled_dot_product_attention(q, k, v)
        seen = rearrange(seen, "b 1 (h w) c -> b c h w", h=x.shape[2])
        x = x + self.proj_out(seen)
        return x


class Downsample(nn.Module):
    """Half the resolution by a strided convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B,C,H/2,W/2]."""
        # One row below and one column to the right, none above or left: the original pads this
        # way here (and symmetrically in the UNet), and its weights have learned it.
        h: Tensor = self.conv(F.pad(x, (0, 1, 0, 1)))
        return h


class Upsample(nn.Module):
    """Twice the resolution: nearest neighbour, then a convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return [B,C,2H,2W]."""
        h: Tensor = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return h


def _blocks(before: int, width: int, count: int, groups: int) -> nn.ModuleList:
    return nn.ModuleList(ResBlock(before if index == 0 else width, width, groups) for index in range(count))


def _norm(groups: int, channels: int) -> nn.GroupNorm:
    # 1e-6, not torch's 1e-5: the autoencoder differs from the UNet's residual blocks in this.
    return nn.GroupNorm(groups, channels, eps=1e-6)
