"""Keep a training: the checkpoint of its last step, written whole, in time, and when the process is told to stop."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO
from torch import Tensor, nn

from controlnet.training.store import WEIGHTS, load_saved, replacing

LAST = "last.ckpt"

MINUTES = 5.0
"""Between two checkpoints at most, one step aside: what a process that is killed loses."""


class WholeFiles(TorchCheckpointIO):
    """Checkpoints that replace the one before when they are whole; Lightning's own go through another disk's folder."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: object = None
    ) -> None:
        """Write a checkpoint."""
        with replacing(Path(path)) as part:
            torch.save(checkpoint, part)


class Keep(pl.Callback):
    """Write the checkpoint every so many steps and minutes; on SIGINT and SIGTERM end the training after its step.

    Lightning's `OnExceptionCheckpoint` saves wherever an interrupt strikes, in the middle of an optimizer's step too,
    and the weights are none that a training passes through. Here a step is finished first; a second signal does not
    wait for that.
    """

    def __init__(self, file: Path, steps: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the file.

        Args:
            file: the checkpoint; who runs the trainer writes it after the last step, too.
            steps: between two checkpoints.
            clock: seconds.
        """
        self.file, self.steps, self._clock = file, steps, clock
        self.signal: int | None = None
        """That ended the training."""
        self._step = 0
        self._saved = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the signals. Lightning gives them back when the training has ended, however it does."""
        self._step, self._saved = trainer.global_step, self._clock()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._asked)

    def _asked(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Look at signals and clock of the first process, after an optimizer step."""
        if trainer.global_step == self._step:
            return  # a checkpoint would lose the gradients accumulated so far
        self._step = trainer.global_step
        late = self._clock() - self._saved >= 60 * MINUTES
        self.signal, late = trainer.strategy.broadcast((self.signal, late))
        if self.signal is not None:
            trainer.should_stop = True
        elif late or self._step % self.steps == 0:
            trainer.save_checkpoint(self.file)
            self._saved = self._clock()


def check(
    file: Path, modules: Mapping[str, nn.Module], locked: Mapping[str, nn.Module], base: str, optimizer: str
) -> None:
    """Make sure that a training can go on from a checkpoint, before the minutes that its data take.

    Args:
        file: the checkpoint.
        modules: what learns, by its name in the checkpoint.
        locked: what does not; checkpoints of version 0.1 hold it too.
        base: identity of what is locked; empty where nothing is.
        optimizer: "muon" or "adamw".

    Raises:
        ValueError: the file is damaged, or of another base, model or optimizer; says what to do.
    """
    try:
        kept = load_saved(file, mmap=True)
        state, groups = kept["state_dict"], kept["optimizer_states"][0]["param_groups"]
        muon = "orthogonal" in groups[0]
    except (LookupError, TypeError, ValueError) as error:
        beside = file.with_name(WEIGHTS)
        rest = f"{beside}, which is kept" if beside.is_file() else "its beginning"
        raise ValueError(
            f"{file} is cut short or damaged: put a sound copy in its place, or delete it to train again from {rest}"
        ) from error
    if "base" in kept:
        same = kept["base"] == base
    else:
        same = all(torch.equal(state[key], weight.cpu()) for key, weight in _named(locked) if key in state)
    shapes = {key: weight.shape for key, weight in _named(modules)}
    other = [
        what
        for what, differs in (
            ("base", not same),
            ("architecture", any(key not in state or state[key].shape != shape for key, shape in shapes.items())),
            ("optimizer", muon != (optimizer == "muon")),
        )
        if differs
    ]
    if other:
        raise ValueError(
            f"{file} was trained with another {' and '.join(other)}: go on with that, "
            "or give another folder= to start anew"
        )


def _named(modules: Mapping[str, nn.Module]) -> Iterator[tuple[str, Tensor]]:
    for part, module in modules.items():
        for key, weight in module.state_dict().items():
            yield f"{part}.{key}", weight
