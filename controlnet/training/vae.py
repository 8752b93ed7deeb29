"""Train the autoencoder: the ceiling of everything that comes after it."""

from collections.abc import Mapping

import pytorch_lightning as pl
import torch
from torch import Tensor

from controlnet.layout import channels_last
from controlnet.training.losses import ReconstructionLoss
from controlnet.training.optimizers import make_optimizer
from controlnet.vae import VAE


class VAETraining(pl.LightningModule):
    """A VAE under `ReconstructionLoss`; no adversary and no perceptual network."""

    def __init__(
        self,
        vae: VAE,
        loss: ReconstructionLoss,
        optimizer: str,
        learning_rate: float,
        lock_encoder: bool = False,
    ) -> None:
        super().__init__()
        self.vae = channels_last(vae)
        for half in (vae.encoder, vae.quant_conv):
            half.requires_grad_(not lock_encoder)
        self.loss = loss
        self.optimizer = optimizer
        self.learning_rate = learning_rate

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of one batch of crops."""
        images = batch["image"].contiguous(memory_format=torch.channels_last)
        posterior = self.vae.encode(images)
        decoded = self.vae.decode(posterior.sample(torch.randn_like(posterior.mean)))
        loss = self.loss(decoded, images, batch["mask"], posterior.mean, posterior.logvar)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer; `Pace` sets the rate of each step."""
        return make_optimizer(self.optimizer, self, self.learning_rate)


@torch.no_grad()
def latent_scale(vae: VAE, images: Tensor) -> float:
    """Return what unscaled latents of [B, 3, H, W] must be multiplied by to have standard deviation 1.

    It drifts while the VAE trains, so it is measured at the end.
    """
    device = next(vae.parameters()).device
    means = [vae.encode(part.to(device)).mean.float().cpu() for part in torch.split(images, 16)]
    return float(1 / torch.cat(means).std())
