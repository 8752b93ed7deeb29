"""What a picture costs, in floating-point operations: the price list of benchmarks and of admission. No tensors.

A multiply and an add are two operations. Counted are convolutions (in x out channels x kernel x pixels), linear layers
(in x out x positions) and attention (twice queries x keys x channels: the scores and what they read); norms and
activations are not, they take time but hardly any of it is arithmetic. Cost grows faster than the number of pixels,
because attention's grows with its square: four times the pixels of 512 x 512 cost 5.8 times as much.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from controlnet.architecture import Architecture, ControlConfig, TextConfig, UNetConfig, VAEConfig


@dataclass(frozen=True, slots=True)
class Flops:
    """Operations of each network, for one row or picture of one size.

    Attributes:
        unet: One row, one step.
        control: One row, one step, one ControlNet; the hint comes embedded.
        hint: Embedding a hint, once a picture and control.
        decode: One picture out of the VAE.
        text: One prompt.
    """

    unet: int
    control: int
    hint: int
    decode: int
    text: int

    def image(self, steps: int, *, rows: int = 2, controlled_steps: int = 0) -> int:
        """One picture from its texts on: `rows` of them a step, and a control acting in so many of its steps."""
        return (
            rows * (steps * self.unet + controlled_steps * self.control + self.text)
            + self.hint * (controlled_steps > 0)
            + self.decode
        )


def flops(architecture: Architecture, height: int, width: int) -> Flops:
    """Count what the networks do for a picture of `height` x `width` pixels.

    Raises:
        ValueError: If the sides are no multiples of `architecture.multiple`.
    """
    if height % architecture.multiple or width % architecture.multiple or min(height, width) < 1:
        raise ValueError(f"size {width}x{height} is not a positive multiple of {architecture.multiple}")
    latent = height * width // architecture.vae.factor**2
    tokens = architecture.text.max_position_embeddings
    macs = {
        "unet": _trunk(architecture.unet, latent, tokens) + _way_up(architecture.unet, latent, tokens),
        "control": _trunk(architecture.unet, latent, tokens) + _zero_convs(architecture.unet, latent),
        "hint": _hint(architecture.control, architecture.unet.model_channels, height * width),
        "decode": _decode(architecture.vae, latent),
        "text": _text(architecture.text),
    }
    return Flops(**{part: 2 * count for part, count in macs.items()})


# All below count multiply-adds; `pixels` are those of the layer's output unless said otherwise.


def _trunk(config: UNetConfig, pixels: int, tokens: int) -> int:
    width = config.model_channels
    macs = width * 4 * width + (4 * width) ** 2  # the time's embedding
    macs += _conv(config.in_channels, width, pixels)
    for level, multiple in enumerate(config.channel_mult):
        if level > 0:
            pixels //= 4
            macs += _conv(width, width, pixels)
        for _ in range(config.num_res_blocks):
            before, width = width, multiple * config.model_channels
            macs += _stage(config, level, before, width, pixels, tokens)
    middle = 2 * _res_block(width, width, pixels) + 2 * 4 * config.model_channels * width
    return macs + middle + _transformer(config, width, pixels, tokens)


def _way_up(config: UNetConfig, pixels: int, tokens: int) -> int:
    skips = [width for width, _ in _skips(config, pixels)]
    width, macs = skips[-1], 0
    for level, multiple in reversed(list(enumerate(config.channel_mult))):
        here = pixels // 4**level
        for _ in range(config.num_res_blocks + 1):
            before, width = width + skips.pop(), multiple * config.model_channels
            macs += _stage(config, level, before, width, here, tokens)
        if level > 0:
            macs += _conv(width, width, 4 * here)
    return macs + _conv(width, config.out_channels, pixels)


def _zero_convs(config: UNetConfig, pixels: int) -> int:
    skips = _skips(config, pixels)
    return sum(_conv(width, width, here, kernel=1) for width, here in [*skips, skips[-1]])


def _skips(config: UNetConfig, pixels: int) -> list[tuple[int, int]]:
    """Width and pixels of what each input block hands over, in order."""
    skips = [(config.model_channels, pixels)]
    for level, multiple in enumerate(config.channel_mult):
        if level > 0:
            pixels //= 4
            skips.append((skips[-1][0], pixels))
        skips += [(multiple * config.model_channels, pixels)] * config.num_res_blocks
    return skips


def _stage(config: UNetConfig, level: int, before: int, width: int, pixels: int, tokens: int) -> int:
    attends = 2**level in config.attention_resolutions
    time = 4 * config.model_channels * width
    return _res_block(before, width, pixels) + time + attends * _transformer(config, width, pixels, tokens)


def _transformer(config: UNetConfig, width: int, pixels: int, tokens: int) -> int:
    itself = 4 * width * width * pixels + _attention(pixels, pixels, width)
    text = 2 * width * width * pixels + 2 * config.context_dim * width * tokens + _attention(pixels, tokens, width)
    feed_forward = (8 + 4) * width * width * pixels
    return 2 * width * width * pixels + config.transformer_depth * (itself + text + feed_forward)


def _hint(config: ControlConfig, width: int, pixels: int) -> int:
    macs = _conv(config.conditioning_channels, config.hint_channels[0], pixels)
    for before, after in pairwise(config.hint_channels):
        macs += _conv(before, before, pixels)
        pixels //= 4
        macs += _conv(before, after, pixels)
    return macs + _conv(config.hint_channels[-1], width, pixels)


def _decode(config: VAEConfig, pixels: int) -> int:
    widths = [multiple * config.channels for multiple in config.channel_mult]
    width = widths[-1]
    macs = _conv(config.embed_dim, config.z_channels, pixels, kernel=1) + _conv(config.z_channels, width, pixels)
    macs += 2 * _res_block(width, width, pixels) + 4 * width * width * pixels + _attention(pixels, pixels, width)
    for level, after in reversed(list(enumerate(widths))):
        for _ in range(config.num_res_blocks + 1):
            macs += _res_block(width, after, pixels)
            width = after
        if level > 0:
            pixels *= 4
            macs += _conv(width, width, pixels)
    return macs + _conv(width, config.in_channels, pixels)


def _text(config: TextConfig) -> int:
    tokens, width = config.max_position_embeddings, config.hidden_size
    attention = 4 * width * width * tokens + _attention(tokens, tokens, width)
    return config.num_hidden_layers * (attention + 2 * width * config.intermediate_size * tokens)


def _res_block(before: int, width: int, pixels: int) -> int:
    shortcut = before * width * pixels if before != width else 0
    return _conv(before, width, pixels) + _conv(width, width, pixels) + shortcut


def _attention(queries: int, keys: int, width: int) -> int:
    return 2 * queries * keys * width


def _conv(before: int, after: int, pixels: int, kernel: int = 3) -> int:
    return before * after * kernel**2 * pixels
