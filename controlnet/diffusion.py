"""The forward process: how noise is added, what the UNet predicts, and how to read it.

Ho et al. 2020, "Denoising Diffusion Probabilistic Models", equation 4; with a_t the share of the
picture's variance that is left at timestep t (`alphas_cumprod`):

    x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) noise

The UNet predicts either that noise (eps) or the velocity of Salimans & Ho 2022, appendix D:

    v = sqrt(a_t) noise - sqrt(1 - a_t) x_0
"""

import torch
from einops import rearrange
from torch import Tensor

from controlnet.architecture import ScheduleConfig


class Schedule:
    """Noise levels by timestep, and the three formulas that need them.

    Attributes:
        config: The numbers it was made from.
        alphas_cumprod: a_t, float64 [timesteps].
    """

    def __init__(self, config: ScheduleConfig) -> None:
        """Compute the table: betas are evenly spaced in their square roots.

        The original calls this spacing "linear", diffusers "scaled_linear".
        """
        self.config = config
        roots = torch.linspace(config.beta_start**0.5, config.beta_end**0.5, config.timesteps, dtype=torch.float64)
        self.alphas_cumprod = torch.cumprod(1.0 - roots**2, dim=0)

    def add_noise(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Return x_t [R,C,h,w] of clean latents and standard normal noise of that shape."""
        signal, sigma = self._levels(t, x0)
        return signal * x0 + sigma * noise

    def target(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Return what the UNet should predict for x_t [R,C,h,w]."""
        if self.config.prediction == "eps":
            return noise
        signal, sigma = self._levels(t, x0)
        return signal * noise - sigma * x0

    def to_x0(self, x: Tensor, output: Tensor, t: Tensor) -> Tensor:
        """Return the clean latents [R,C,h,w] that the UNet's `output` for `x` implies."""
        signal, sigma = self._levels(t, x)
        if self.config.prediction == "eps":
            return (x - sigma * output) / signal
        return signal * x - sigma * output

    def _levels(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return sqrt(a_t) and sqrt(1 - a_t) of timesteps [R], as [R,1,1,1] of `like`'s dtype."""
        a = rearrange(self.alphas_cumprod.to(t.device)[t], "r -> r 1 1 1")
        return a.sqrt().to(like), (1.0 - a).sqrt().to(like)
