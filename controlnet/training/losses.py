"""The losses: reconstruction for the VAE, weighted denoising for the base and its controls."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

# BT.601, as rows: luma, blue difference, red difference.
_LUMA_CHROMA = (
    (0.299, 0.587, 0.114),
    (-0.168736, -0.331264, 0.5),
    (0.5, -0.418688, -0.081312),
)


def min_snr_weights(
    alphas_cumprod: Tensor, t: Tensor, gamma: float = 5.0, prediction: Literal["eps", "v"] = "v"
) -> Tensor:
    """Weights of "Efficient Diffusion Training via Min-SNR Weighting Strategy" (arXiv:2303.09556, section 3.4).

    The paper weighs the x0 loss by min(SNR, gamma). An error of v is sqrt(SNR + 1) times that of x0 and
    an error of eps sqrt(SNR) times, so the same objective divides by SNR + 1 or by SNR.

    Args:
        alphas_cumprod: [T] of the schedule.
        t: [B] timesteps.
        gamma: where the weight stops growing.
        prediction: what the network predicts.

    Returns:
        [B] weights in float32.

    Raises:
        ValueError: for another prediction than "eps" or "v".
    """
    if prediction not in ("eps", "v"):
        raise ValueError(f"prediction is {prediction!r}; choose 'eps' or 'v'")
    alphas = alphas_cumprod.to(torch.float64)[t.to(alphas_cumprod.device)]
    snr = alphas / (1 - alphas)
    weights = snr.clamp(max=gamma) / (snr + 1 if prediction == "v" else snr)
    return weights.to(device=t.device, dtype=torch.float32)


def denoising_loss(output: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean square of [B, C, h, w] against the target, with [B] weights; a scalar in float32."""
    per_image = (output.float() - target.float()).square().mean(dim=(1, 2, 3))
    return (per_image * weights).mean()


@dataclass(frozen=True)
class ReconstructionLoss:
    """What the VAE minimises: how far a reconstruction is from its picture.

    Attributes:
        chroma: weight of the two colour differences beside luma. A plain RGB loss learns the hue of a
            small object last, since the background fills the picture.
        mask: weight of a pixel inside the mask (on a part) beside one outside.
        square: weight of the squared error.
        gradient: weight of the error of neighbour differences: sharp edges.
        pooled: weight of the error of 4 x 4 means: right colours of areas.
        kl: weight of the KL divergence from a unit normal, per element of the latent.
    """

    chroma: float = 2.0
    mask: float = 3.0
    square: float = 2.0
    gradient: float = 1.0
    pooled: float = 0.5
    kl: float = 1e-3

    def __call__(self, decoded: Tensor, images: Tensor, mask: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
        """Return the scalar loss.

        Args:
            decoded: [B, 3, H, W] reconstruction in [-1, 1].
            images: [B, 3, H, W] what it should be.
            mask: [B, 1, H, W], 1 where it matters more.
            mean: [B, Z, h, w] of the posterior.
            logvar: [B, Z, h, w] of the posterior.
        """
        matrix = torch.tensor(_LUMA_CHROMA, device=decoded.device, dtype=torch.float32)
        matrix = matrix * torch.tensor([1.0, self.chroma, self.chroma], device=decoded.device)[:, None]
        error = F.conv2d(decoded.float() - images.float(), matrix[:, :, None, None])
        weight = 1 + (self.mask - 1) * mask
        weight = weight / weight.mean()
        loss = (weight * (error.abs() + self.square * error.square())).mean()
        luma = error[:, :1]
        across = (weight[..., 1:] * luma.diff(dim=-1).abs()).mean()
        across = across + (weight[..., 1:, :] * luma.diff(dim=-2).abs()).mean()
        areas = (F.avg_pool2d(weight, 4) * F.avg_pool2d(error, 4).abs()).mean()
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        return loss + self.gradient * across + self.pooled * areas + self.kl * kl
