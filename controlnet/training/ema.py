"""Keep a moving average of the weights; samples and exports use it, the optimizer never sees it."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytorch_lightning as pl
import torch
from torch import Tensor, nn


class MovingAverage:
    """An exponential moving average of the trainable parameters of a module.

    The decay starts low and rises to its final value, min(decay, (1 + n) / (10 + n)) after n updates, so
    that a short training is not dominated by its first weights.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.average = {name: p.detach().clone() for name, p in module.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Move the average towards the module's weights."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        current = dict(module.named_parameters())
        averages = list(self.average.values())
        torch._foreach_lerp_(averages, [current[name].detach() for name in self.average], 1 - decay)

    @contextmanager
    def applied(self, module: nn.Module) -> Iterator[None]:
        """Put the average into the module for the length of a `with` block."""
        self._swap(module)
        try:
            yield
        finally:
            self._swap(module)

    @torch.no_grad()
    def _swap(self, module: nn.Module) -> None:
        current = dict(module.named_parameters())
        for name, average in self.average.items():
            weights = current[name].detach().clone()
            current[name].copy_(average)
            average.copy_(weights)


class EMACallback(pl.Callback):
    """Update a `MovingAverage` after each optimizer step and keep it in the checkpoint."""

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.average: MovingAverage | None = None
        self._restored: dict[str, object] | None = None
        self._step = 0

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start from the module's weights, or from the checkpoint's average."""
        self.average = MovingAverage(pl_module, self.decay)
        self._step = trainer.global_step
        if self._restored is not None:
            self.average.updates = int(str(self._restored["updates"]))
            stored = self._restored["average"]
            assert isinstance(stored, dict)
            for name, weights in stored.items():
                self.average.average[name].copy_(weights)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Update once per optimizer step: accumulated batches in between do not count."""
        if self.average is not None and trainer.global_step > self._step:
            self._step = trainer.global_step
            self.average.update(pl_module)

    def state_dict(self) -> dict[str, object]:
        """Return what the checkpoint keeps."""
        if self.average is None:
            return {}
        average: dict[str, Tensor] = dict(self.average.average)
        return {"updates": self.average.updates, "average": average}

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        """Remember the checkpoint's average until the fit starts."""
        self._restored = state_dict or None
