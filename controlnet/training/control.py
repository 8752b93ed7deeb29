"""Train a ControlNet on a locked base."""

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from controlnet.control import ControlNet
from controlnet.diffusion import Schedule
from controlnet.layout import channels_last
from controlnet.text import TextEncoder
from controlnet.training.base import stratified_timesteps
from controlnet.training.losses import denoising_loss, min_snr_weights
from controlnet.training.optimizers import make_optimizer
from controlnet.unet import UNet


class ControlTraining(pl.LightningModule):
    """Only the ControlNet learns: UNet and text encoder get no gradient and keep their bits.

    The hint encoder and the zero convolutions take a rate of their own: they start from nothing and have the
    farthest to go, while the copied trunk already knows pictures.
    """

    def __init__(
        self,
        control: ControlNet,
        unet: UNet,
        text: TextEncoder,
        schedule: Schedule,
        optimizer: str,
        learning_rate: float,
        fresh_rate: float,
        gamma: float,
        late: float,
        base: str = "",
    ) -> None:
        """Lock the base.

        Args:
            control: what is trained, as a rule `ControlNet.from_unet(unet, ...)`.
            unet: the base's.
            text: the base's.
            schedule: the base's.
            optimizer: "muon" or "adamw".
            learning_rate: of the copied trunk.
            fresh_rate: of the hint encoder and the zero convolutions.
            gamma: of min-SNR.
            late: share of timesteps drawn from the noisiest 70 %, where the layout is decided.
            base: identity of the base, for checkpoints, which do not hold it.
        """
        super().__init__()
        self.control = channels_last(control)
        self.unet = channels_last(unet).requires_grad_(False).eval()
        self.text = text.requires_grad_(False).eval()
        self.schedule = schedule
        self.optimizer = optimizer
        self.learning_rate, self.fresh_rate = learning_rate, fresh_rate
        self.gamma, self.late = gamma, late
        self.base = base

    def loss(self, batch: Mapping[str, Tensor], t: Tensor, noise: Tensor) -> Tensor:
        """Return the loss of one batch (`latent`, `ids`, `hint`) at given timesteps and noise."""
        latent = batch["latent"]
        noisy = self.schedule.add_noise(latent, noise, t).contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            context = self.text(batch["ids"])
        embedded = self.control.embed(batch["hint"].contiguous(memory_format=torch.channels_last))
        output = self.unet(noisy, t, context, self.control(noisy, embedded, t, context))
        config = self.schedule.config
        weights = min_snr_weights(self.schedule.alphas_cumprod, t, self.gamma, config.prediction)
        return denoising_loss(output, self.schedule.target(latent, noise, t), weights)

    def training_step(self, batch: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of one batch at random timesteps, more of them noisy ones."""
        latent = batch["latent"]
        count, timesteps = len(latent), self.schedule.config.timesteps
        late = round(count * self.late)
        first = int(0.3 * timesteps)
        t = torch.cat(
            [
                stratified_timesteps(count - late, timesteps, latent.device),
                first + stratified_timesteps(late, timesteps - first, latent.device),
            ]
        )
        loss = self.loss(batch, t, torch.randn_like(latent))
        self.log("loss", loss)
        return loss

    @torch.no_grad()
    def measure(self, batch: Mapping[str, Tensor], parts: int = 4) -> float:
        """Return the mean loss of a batch over the timesteps, at the same noise whenever it is asked for.

        Args:
            batch: `latent`, `ids`, `hint`, on any device.
            parts: of the range of timesteps; each gives its middle.
        """
        generator, latent, timesteps = torch.Generator().manual_seed(0), batch["latent"], self.schedule.config.timesteps
        losses = []
        for part in range(parts):
            t = torch.full((len(latent),), int((part + 0.5) / parts * timesteps), device=self.device)
            noise = torch.randn(latent.shape, generator=generator).to(self.device)
            losses.append(self.loss({key: value.to(self.device) for key, value in batch.items()}, t, noise).item())
        return sum(losses) / parts

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave out what is locked: it lies in the base, and is most of the weights."""
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {key: weight for key, weight in state.items() if key.startswith("control.")}
        checkpoint["base"] = self.base

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put in what was left out; `checkpoints.check` has made sure that it is the same."""
        checkpoint["state_dict"] = self.state_dict() | checkpoint["state_dict"]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer of the ControlNet alone; `Pace` sets the rates of each step."""
        fresh = ("control.input_hint_block.", "control.zero_convs.", "control.middle_block_out.")
        return make_optimizer(self.optimizer, self, self.learning_rate, fast=dict.fromkeys(fresh, self.fresh_rate))
