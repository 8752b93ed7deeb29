"""Say how far a training is: step of steps, loss and time left."""

from datetime import timedelta

import pytorch_lightning as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


class ProgressBar(pl.Callback):
    """A bar on a terminal; elsewhere, as in a file, a line every so many steps.

    Args:
        console: where to.
        steps: planned.
        every: steps between lines.
    """

    def __init__(self, console: Console, steps: int, every: int) -> None:
        self._console, self._steps, self._every = console, steps, every
        columns = (
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("left"),
        )
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._bar.add_task("", total=steps, start=False, loss="-")
        self._step = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show where the training begins."""
        self._step = trainer.global_step
        self._bar.start()
        self._bar.start_task(self._task)
        self._bar.update(self._task, completed=self._step)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Show a step."""
        if trainer.global_step == self._step:
            return
        self._step, loss = trainer.global_step, f"{float(trainer.callback_metrics['loss']):.4f}"
        self._bar.update(self._task, completed=self._step, loss=loss)
        if not self._console.is_terminal and (self._step % self._every == 0 or self._step == self._steps):
            left = self._bar.tasks[self._task].time_remaining
            rest = "" if left is None else f", {timedelta(seconds=round(left))} left"
            self._console.print(
                f"step {self._step} of {self._steps}, loss {loss}{rest}", soft_wrap=True, highlight=False
            )

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Leave the terminal as it was, however the training ended."""
        self._bar.stop()
