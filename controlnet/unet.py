"""The denoiser: a UNet over latents that reads the text by cross attention.

Stable Diffusion 1.x (Rombach et al. 2022, section 3.2 and 3.3). Going down, each level halves the
resolution; going up, each level doubles it and sees what the way down left behind (the skips):

    x [R,4,h,w] -> input_blocks -> middle_block -> output_blocks -> out -> [R,4,h,w]
                        |                                 ^
                        +-- skips (+ control residuals) --+

A *row* (R of them) is one line of the batch. Rows do not see each other: each has its own
timestep and its own text. `Trunk` is the half that a ControlNet copies. Attribute names are those
of the original checkpoints (`model.diffusion_model.*`), so no key is ever renamed.
"""

import math
from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from controlnet.architecture import UNetConfig


class Trunk(nn.Module):
    """Time embedding, way down and middle: what a UNet and its ControlNets have in common.

    A new one has random weights, except that the last layer of each residual branch is zero.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        width = config.model_channels
        time_width = 4 * width
        self.time_embed = nn.Sequential(nn.Linear(width, time_width), nn.SiLU(), nn.Linear(time_width, time_width))

        self.input_blocks = nn.ModuleList([Stage([nn.Conv2d(config.in_channels, width, 3, padding=1)])])
        self.skip_widths = [width]  # of what each input block hands over, in order
        for level, multiple in enumerate(config.channel_mult):
            if level > 0:
                self.input_blocks.append(Stage([Downsample(width)]))
                self.skip_widths.append(width)
            for _ in range(config.num_res_blocks):
                before, width = width, multiple * config.model_channels
                self.input_blocks.append(stage(config, level, before, width))
                self.skip_widths.append(width)

        self.middle_block = Stage(
            [
                ResBlock(width, width, time_width, config.norm_groups),
                SpatialTransformer(config, width),
                ResBlock(width, width, time_width, config.norm_groups),
            ]
        )

    def embed_time(self, t: Tensor) -> Tensor:
        """Return the embedding [R,4*model_channels] of timesteps `t` [R], one a row."""
        waves = timestep_embedding(t, self.config.model_channels)
        # The waves are float32 whatever the weights are: bfloat16 cannot tell 999 from 1000.
        emb: Tensor = self.time_embed(waves.to(next(self.time_embed.parameters()).dtype))
        return emb

    def descend(self, x: Tensor, emb: Tensor, context: Tensor, hint: Tensor | None = None) -> list[Tensor]:
        """Run the way down and the middle.

        Args:
            x: Noisy latents [R,C,h,w].
            emb: Time embedding of `embed_time`.
            context: Text features [R,T,D].
            hint: Added once, after the first convolution [R,model_channels,h,w].

        Returns:
            `config.residuals` features: that of each input block, then that of the middle.
        """
        features: list[Tensor] = []
        for block in self.input_blocks:
            x = block(x, emb, context)
            if hint is not None and not features:
                x = x + hint
            features.append(x)
        features.append(self.middle_block(x, emb, context))
        return features


class UNet(Trunk):
    """Trunk, way up and the prediction; `out` starts at zero, so a new UNet predicts zero."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__(config)
        width = self.skip_widths[-1]
        skips = list(self.skip_widths)
        self.output_blocks = nn.ModuleList()
        for level, multiple in reversed(list(enumerate(config.channel_mult))):
            for index in range(config.num_res_blocks + 1):
                before, width = width + skips.pop(), multiple * config.model_channels
                block = stage(config, level, before, width)
                if level > 0 and index == config.num_res_blocks:
                    block.append(Upsample(width))
                self.output_blocks.append(block)

        self.out = nn.Sequential(
            nn.GroupNorm(config.norm_groups, width),
            nn.SiLU(),
            zeroed(nn.Conv2d(width, config.out_channels, 3, padding=1)),
        )

    def forward(self, x: Tensor, t: Tensor, context: Tensor, control: Sequence[Tensor] | None = None) -> Tensor:
        """Predict the noise (or the velocity) in `x`.

        Args:
            x: Noisy latents [R,C,h,w]; h and w divisible by `config.downscale`.
            t: Timesteps [R], int64, one a row.
            context: Text features [R,T,D].
            control: Residuals in a ControlNet's order (skips first, middle last), already scaled;
                a row without control has zeros.

        Returns:
            The prediction [R,out_channels,h,w].

        Raises:
            ValueError: If `control` does not have `config.residuals` entries.
        """
        emb = self.embed_time(t)
        features = self.descend(x, emb, context)
        if control is not None:
            if len(control) != len(features):
                raise ValueError(f"control has {len(control)} residuals: this UNet takes {len(features)}")
            features = [f + residual for f, residual in zip(features, control, strict=True)]
        return self.ascend(features, emb, context)

    def ascend(self, features: Sequence[Tensor], emb: Tensor, context: Tensor) -> Tensor:
        """Run the way up, from what `descend` answered (plus residuals) to the prediction [R,out_channels,h,w]."""
        h, *skips = features[::-1]
        for block, skip in zip(self.output_blocks, skips, strict=True):
            h = block(torch.cat([h, skip], dim=1), emb, context)
        prediction: Tensor = self.out(h)
        return prediction


class Stage(nn.ModuleList):
    """Layers in a row, each given what it takes beside the picture: time, text or nothing."""

    def forward(self, x: Tensor, emb: Tensor, context: Tensor) -> Tensor:
        """Run the layers on `x` [R,C,h,w]."""
        for layer in self:
            match layer:
                case ResBlock():
                    x = layer(x, emb)
                case SpatialTransformer():
                    x = layer(x, context)
                case _:
                    x = layer(x)
        return x


def stage(config: UNetConfig, level: int, before: int, width: int) -> Stage:
    """Build a residual block from `before` to `width` channels, with attention if `level` has."""
    block = Stage([ResBlock(before, width, 4 * config.model_channels, config.norm_groups)])
    if 2**level in config.attention_resolutions:
        block.append(SpatialTransformer(config, width))
    return block


class ResBlock(nn.Module):
    """Two normalised convolutions from `before` to `width` channels, the time added between them, and a shortcut."""

    def __init__(self, before: int, width: int, time_width: int, groups: int) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(nn.GroupNorm(groups, before), nn.SiLU(), nn.Conv2d(before, width, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(time_width, width))
        self.out_layers = nn.Sequential(
            nn.GroupNorm(groups, width),
            nn.SiLU(),
            nn.Identity(),  # the original's dropout, which keeps the convolution's number at 3
            zeroed(nn.Conv2d(width, width, 3, padding=1)),
        )
        self.skip_connection = nn.Conv2d(before, width, 1) if before != width else nn.Identity()

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """Return [R,width,h,w] of `x` [R,before,h,w] and the time embedding [R,time_width]."""
        h: Tensor = self.in_layers(x)
        h = h + rearrange(self.emb_layers(emb), "r c -> r c 1 1")
        h = self.skip_connection(x) + self.out_layers(h)
        return h


class SpatialTransformer(nn.Module):
    """Attention over the pixels of a feature map, then from them to the text."""

    def __init__(self, config: UNetConfig, width: int) -> None:
        super().__init__()
        # 1e-6 here and torch's 1e-5 in the residual blocks: the original has both.
        self.norm = nn.GroupNorm(config.norm_groups, width, eps=1e-6)
        self.proj_in = nn.Conv2d(width, width, 1)
        self.transformer_blocks = nn.ModuleList(
            TransformerBlock(width, config.num_heads, config.context_dim) for _ in range(config.transformer_depth)
        )
        self.proj_out = zeroed(nn.Conv2d(width, width, 1))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Keep the shape of `x` [R,C,h,w]; `context` is [R,T,D]."""
        h = rearrange(self.proj_in(self.norm(x)), "r c h w -> r (h w) c")
        for block in self.transformer_blocks:
            h = block(h, context)
        h = rearrange(h, "r (h w) c -> r c h w", h=x.shape[2])
        x = x + self.proj_out(h)
        return x


class TransformerBlock(nn.Module):
    """Self attention, cross attention and a feed-forward net, each normalised and residual."""

    def __init__(self, width: int, heads: int, context_dim: int) -> None:
        super().__init__()
        self.attn1 = Attention(width, width, heads)
        self.ff = FeedForward(width)
        self.attn2 = Attention(width, context_dim, heads)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Keep the shape of `x` [R,N,C]; `context` is [R,T,D]."""
        normed = self.norm1(x)
        x = x + self.attn1(normed, normed)
        x = x + self.attn2(self.norm2(x), context)
        x = x + self.ff(self.norm3(x))
        return x


class Attention(nn.Module):
    """Multi-head attention of `width` channels to a context of `context_dim`; only the output has a bias."""

    def __init__(self, width: int, context_dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k = nn.Linear(context_dim, width, bias=False)
        self.to_v = nn.Linear(context_dim, width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(width, width))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Return [R,N,C]: what `x` [R,N,C] reads from `context` [R,T,D]."""
        q, k, v = (
            rearrange(features, "r n (head c) -> r head n c", head=self.heads)
            for features in (self.to_q(x), self.to_k(context), self.to_v(context))
        )
        read = F.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.to_out(rearrange(read, "r head n c -> r n (head c)"))
        return out


class FeedForward(nn.Module):
    """Widen four times, gate, narrow again."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # The middle of the three is the original's dropout: it keeps the last one's number at 2.
        self.net = nn.Sequential(GEGLU(width, 4 * width), nn.Identity(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape of `x` [R,N,C]."""
        x = self.net(x)
        return x


class GEGLU(nn.Module):
    """A linear layer from `before` to `width` channels, gated by the GELU of another (Shazeer 2020)."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(before, 2 * width)

    def forward(self, x: Tensor) -> Tensor:
        """Return [R,N,width] of [R,N,before]."""
        value, gate = self.proj(x).chunk(2, dim=-1)
        x = value * F.gelu(gate)
        return x


class Downsample(nn.Module):
    """Half the resolution by a strided convolution, padded on all sides (the VAE's is not)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(width, width, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return [R,C,h/2,w/2]."""
        x = self.op(x)
        return x


class Upsample(nn.Module):
    """Twice the resolution: nearest neighbour, then a convolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return [R,C,2h,2w]."""
        x = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return x


def timestep_embedding(t: Tensor, width: int) -> Tensor:
    """Write timesteps as waves of falling frequency (Vaswani et al. 2017, section 3.5).

    Args:
        t: Timesteps [R].
        width: Even number of channels.

    Returns:
        float32 [R,width]: all cosines first, then all sines, from 1 to 1/10000 radians a step.
    """
    half = width // 2
    exponents = torch.arange(half, dtype=torch.float32, device=t.device) / half
    angles = rearrange(t.float(), "r -> r 1") * torch.exp(-math.log(10_000) * exponents)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    """Set all parameters of `layer` to zero, so that it adds nothing until it has learned."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
