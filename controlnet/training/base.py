"""Train the base: UNet and text encoder together, on cached latents."""

from collections.abc import Mapping

import pytorch_lightning as pl
import torch
from torch import Tensor

from controlnet.diffusion import Schedule
from controlnet.layout import channels_last
from controlnet.text import TextEncoder
from controlnet.training.losses import denoising_loss, min_snr_weights
from controlnet.training.optimizers import make_optimizer
from controlnet.unet import UNet


class BaseTraining(pl.LightningModule):
    """Denoising with min-SNR weights. Captions are dropped by the data, so the model learns both rows of guidance."""

    def __init__(
        self,
        unet: UNet,
        text: TextEncoder,
        schedule: Schedule,
        optimizer: str,
        learning_rate: float,
        gamma: float,
    ) -> None:
        super().__init__()
        self.unet = channels_last(unet)
        self.text = text
        self.schedule = schedule
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.gamma = gamma

    def loss(self, batch: Mapping[str, Tensor], t: Tensor, noise: Tensor) -> Tensor:
        """Return the loss of one batch (`latent`, `ids`) at given timesteps and noise."""
        latent = batch["latent"]
        noisy = self.schedule.add_noise(latent, noise, t).contiguous(memory_format=torch.channels_last)
        output = self.unet(noisy, t, self.text(batch["ids"]))
        config = self.schedule.config
        weights = min_snr_weights(self.schedule.alphas_cumprod, t, self.gamma, config.prediction)
        return denoising_loss(output, self.schedule.target(latent, noise, t), weights)

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of one batch at random timesteps."""
        latent = batch["latent"]
        t = stratified_timesteps(len(latent), self.schedule.config.timesteps, latent.device)
        loss = self.loss(batch, t, torch.randn_like(latent))
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer; `Pace` sets the rate of each step."""
        return make_optimizer(self.optimizer, self, self.learning_rate)


def stratified_timesteps(count: int, timesteps: int, device: torch.device) -> Tensor:
    """Draw [count] timesteps, one from each of `count` equal parts of the range: uniform, but evener in a batch."""
    places = (torch.arange(count, device=device) + torch.rand(count, device=device)) / count
    return (places * timesteps).long().clamp(max=timesteps - 1)
