"""The numbers of a latent diffusion model: widths, depths, counts. No tensors.

A model is these numbers plus the modules of `controlnet.unet`, `.control`, `.vae` and `.text`.
The defaults are Stable Diffusion 1.5 with a v1.0/v1.1 ControlNet (``cldm_v15.yaml`` of the
original repository); a smaller model is the same code with smaller numbers.
"""

from dataclasses import dataclass
from typing import Literal


def _require_positive(name: str, value: int | tuple[int, ...]) -> None:
    numbers = (value,) if isinstance(value, int) else value
    if min(numbers, default=0) < 1:
        raise ValueError(f"{name} is {value}: choose positive numbers")


def _require_divisible(name: str, value: int, by: str, divisor: int) -> None:
    if divisor < 1 or value < 1 or value % divisor:
        raise ValueError(f"{name} is {value}: it must be a multiple of {by}, which is {divisor}")


def _require_equal(left: str, a: int, right: str, b: int) -> None:
    if a != b:
        raise ValueError(f"{left} is {a} and {right} is {b}: they must be equal")


@dataclass(frozen=True, slots=True)
class UNetConfig:
    """The denoiser, and with it the ControlNet that copies its first half.

    Attributes:
        in_channels: Channels of the noisy latent.
        out_channels: Channels of the prediction.
        model_channels: Width of the first level.
        channel_mult: Width of each level as a multiple of `model_channels`; each level after the
            first works at half the resolution of the one before.
        num_res_blocks: Residual blocks a level on the way down; the way up has one more.
        attention_resolutions: Downsampling factors (1, 2, 4, ...) at which a level has attention.
            They are factors, not sizes, whatever the name (the original's) says.
        num_heads: Attention heads, the same at every level.
        context_dim: Width of the text features that cross attention reads.
        transformer_depth: Transformer blocks in each attention layer.
        norm_groups: Groups of every GroupNorm.
    """

    in_channels: int = 4
    out_channels: int = 4
    model_channels: int = 320
    channel_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    attention_resolutions: tuple[int, ...] = (4, 2, 1)
    num_heads: int = 8
    context_dim: int = 768
    transformer_depth: int = 1
    norm_groups: int = 32

    def __post_init__(self) -> None:
        """Refuse numbers that no network can be built from."""
        _require_positive("channel_mult", self.channel_mult)
        _require_positive("num_res_blocks", self.num_res_blocks)
        _require_positive("transformer_depth", self.transformer_depth)
        _require_divisible("model_channels", self.model_channels, "2 (cosines and sines)", 2)
        for multiple in self.channel_mult:
            width = multiple * self.model_channels
            _require_divisible("width", width, "norm_groups", self.norm_groups)
            _require_divisible("width", width, "num_heads", self.num_heads)
        factors = [2**level for level in range(len(self.channel_mult))]
        if unknown := set(self.attention_resolutions) - set(factors):
            raise ValueError(
                f"attention_resolutions {sorted(unknown)} are no level of this UNet: choose "
                f"from the downsampling factors {factors}"
            )

    @property
    def downscale(self) -> int:
        """How many latent pixels (a side) become one at the deepest level."""
        return 1 << (len(self.channel_mult) - 1)

    @property
    def residuals(self) -> int:
        """How many residuals a ControlNet adds: one a skip connection and one for the middle."""
        return len(self.channel_mult) * (self.num_res_blocks + 1) + 1


@dataclass(frozen=True, slots=True)
class ControlConfig:
    """What a ControlNet adds to the trunk it copies.

    Attributes:
        hint_channels: Widths of the hint encoder. Each step from one entry to the next halves
            the resolution, so the encoder shrinks the hint by `factor`.
        conditioning_channels: Channels of the hint.
    """

    hint_channels: tuple[int, ...] = (16, 32, 96, 256)
    conditioning_channels: int = 3

    def __post_init__(self) -> None:
        """Refuse an empty encoder."""
        _require_positive("hint_channels", self.hint_channels)

    @property
    def factor(self) -> int:
        """Hint pixels (a side) to one latent pixel."""
        return 1 << (len(self.hint_channels) - 1)


@dataclass(frozen=True, slots=True)
class VAEConfig:
    """The autoencoder between pictures and latents.

    Attributes:
        in_channels: Channels of the picture.
        channels: Width of the first level.
        channel_mult: Width of each level as a multiple of `channels`.
        num_res_blocks: Residual blocks a level of the encoder; the decoder has one more.
        z_channels: Channels inside the autoencoder, before `quant_conv`.
        embed_dim: Channels of the latent.
        norm_groups: Groups of every GroupNorm.
        scale_factor: What a latent is multiplied by so that its standard deviation is about 1.
    """

    in_channels: int = 3
    channels: int = 128
    channel_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    z_channels: int = 4
    embed_dim: int = 4
    norm_groups: int = 32
    scale_factor: float = 0.18215

    def __post_init__(self) -> None:
        """Refuse numbers that no network can be built from."""
        _require_positive("channel_mult", self.channel_mult)
        _require_positive("num_res_blocks", self.num_res_blocks)
        for multiple in self.channel_mult:
            width = multiple * self.channels
            _require_divisible("width", width, "norm_groups", self.norm_groups)
        if self.scale_factor <= 0:
            raise ValueError(f"scale_factor is {self.scale_factor}: it must be positive")

    @property
    def factor(self) -> int:
        """Pixels (a side) to one latent pixel."""
        return 1 << (len(self.channel_mult) - 1)


@dataclass(frozen=True, slots=True)
class TextConfig:
    """The CLIP text encoder; the names are those of ``transformers.CLIPTextConfig``."""

    vocab_size: int = 49408
    hidden_size: int = 768
    intermediate_size: int = 3072
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    max_position_embeddings: int = 77
    hidden_act: Literal["quick_gelu", "gelu"] = "quick_gelu"
    bos_token_id: int = 49406
    eos_token_id: int = 49407
    pad_token_id: int = 49407  # SD 1.x pads with the end token, not with 0 as SD 2.x does

    def __post_init__(self) -> None:
        """Refuse numbers that no network can be built from."""
        if self.hidden_act not in ("quick_gelu", "gelu"):
            raise ValueError(f"hidden_act is {self.hidden_act!r}: choose 'quick_gelu' or 'gelu'")
        _require_divisible("hidden_size", self.hidden_size, "num_attention_heads", self.num_attention_heads)
        for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
            token = getattr(self, name)
            if not 0 <= token < self.vocab_size:
                raise ValueError(f"{name} is {token}: choose from 0..{self.vocab_size - 1}")


@dataclass(frozen=True, slots=True)
class ScheduleConfig:
    """How noise grows with the timestep, and what the UNet predicts.

    Attributes:
        timesteps: Length of the schedule.
        beta_start: Variance added at the first timestep.
        beta_end: Variance added at the last.
        prediction: ``eps`` (the noise) or ``v`` (Salimans & Ho 2022, the velocity).
    """

    timesteps: int = 1000
    beta_start: float = 0.00085
    beta_end: float = 0.012
    prediction: Literal["eps", "v"] = "eps"

    def __post_init__(self) -> None:
        """Refuse a schedule that does not add noise."""
        if self.timesteps < 2:
            raise ValueError(f"timesteps is {self.timesteps}: choose 2 or more")
        if not 0 < self.beta_start <= self.beta_end < 1:
            raise ValueError(
                f"beta_start {self.beta_start} and beta_end {self.beta_end}: choose 0 < beta_start <= beta_end < 1"
            )
        if self.prediction not in ("eps", "v"):
            raise ValueError(f"prediction is {self.prediction!r}: choose 'eps' or 'v'")


@dataclass(frozen=True, slots=True)
class Architecture:
    """All numbers of one model. The parts must fit each other, which is checked here."""

    unet: UNetConfig
    vae: VAEConfig
    text: TextConfig
    control: ControlConfig
    schedule: ScheduleConfig

    def __post_init__(self) -> None:
        """Refuse parts that do not fit each other."""
        _require_equal("unet.context_dim", self.unet.context_dim, "text.hidden_size", self.text.hidden_size)
        _require_equal("unet.in_channels", self.unet.in_channels, "vae.embed_dim", self.vae.embed_dim)
        _require_equal("unet.out_channels", self.unet.out_channels, "vae.embed_dim", self.vae.embed_dim)
        _require_equal("control.factor", self.control.factor, "vae.factor", self.vae.factor)

    @property
    def multiple(self) -> int:
        """Widths and heights in pixels must be divisible by this."""
        return self.vae.factor * self.unet.downscale


SD15 = Architecture(UNetConfig(), VAEConfig(), TextConfig(), ControlConfig(), ScheduleConfig())
"""Stable Diffusion 1.5 with its ControlNet."""
