"""Learning rate and end of a training, by planned steps or by the clock, whichever comes first."""

import math
import time
from collections.abc import Callable

import pytorch_lightning as pl


def rate(progress: float, step: int, warmup: int, hold: float, floor: float) -> float:
    """Return the factor of the learning rate: linear warm-up, constant until `hold`, cosine to `floor`.

    Args:
        progress: share of the training done, 0 .. 1.
        step: optimizer steps done.
        warmup: steps until the full rate.
        hold: progress at which it begins to fall.
        floor: factor at the end.
    """
    factor = min(1.0, (step + 1) / warmup) if warmup else 1.0
    if progress > hold:
        factor *= floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - hold) / (1 - hold))))
    return factor


class Pace(pl.Callback):
    """Set the learning rate before each step, and stop the training when it is done.

    Progress is the larger of steps done to steps planned and minutes used to minutes allowed: on a slow or a
    busy machine the rate still falls to its floor before time is up. The minutes of earlier, interrupted
    runs count, since the clock is kept in the checkpoint.
    """

    def __init__(
        self,
        steps: int,
        minutes: float | None,
        warmup: int,
        hold: float,
        floor: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.steps, self.minutes = steps, minutes
        self.warmup, self.hold, self.floor = warmup, hold, floor
        self._clock = clock
        self._before = 0.0
        self._started: float | None = None
        self._rates: list[float] = []
        self._progress = 0.0

    @property
    def seconds(self) -> float:
        """Seconds of training so far, in all runs."""
        return self._before + (0.0 if self._started is None else self._clock() - self._started)

    def progress(self, step: int) -> float:
        """Return the share of the training that is done after `step` steps, at most 1."""
        by_clock = self.seconds / (60 * self.minutes) if self.minutes else 0.0
        return min(1.0, max(step / self.steps, by_clock))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock. The rates set in the module are the full ones, also after a restart."""
        if self.progress(trainer.global_step) >= 1:  # an earlier run was stopped by the clock
            trainer.should_stop = True
        self._started = self._clock()
        fresh = pl_module.configure_optimizers()
        self._rates = [group["lr"] for group in fresh.param_groups]  # type: ignore[union-attr]

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Set the rate of this step, by the clock of the first process: the others must not differ from it."""
        step = trainer.global_step
        self._progress = trainer.strategy.broadcast(self.progress(step))
        factor = rate(self._progress, step, self.warmup, self.hold, self.floor)
        for group, full in zip(trainer.optimizers[0].param_groups, self._rates, strict=True):
            group["lr"] = full * factor

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Stop when all is done."""
        pl_module.log("rate", trainer.optimizers[0].param_groups[0]["lr"])
        if self._progress >= 1:
            trainer.should_stop = True

    def state_dict(self) -> dict[str, float]:
        """Return the clock."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Go on from an earlier run's clock."""
        self._before = state_dict["seconds"]
