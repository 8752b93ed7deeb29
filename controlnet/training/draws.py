"""What a training draws: the order of its pictures, and the chances of items and steps.

All of it follows from the seed and a number that counts up, so a training that was interrupted draws what it would have
drawn: on one kind of machine it ends with the same weights, to the bit.
"""

from collections.abc import Callable, Iterator
from itertools import count as numbers

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import Dataset, Sampler

from controlnet.training.data import Batch

Draw = tuple[int, int]
"""Index of an item, and the seed of its chances."""


class Draws(Sampler[list[Draw]]):
    """Batches without end: each epoch takes the items in a new order, and leaves out what fills no whole batches.

    Args:
        count: items there are.
        batch: of them in a batch of one process.
        seed: decides everything.
        first: tells the number of the batch to begin with, when the batches are asked for.
        rank: of this process.
        world: processes.

    Raises:
        ValueError: the items fill no batch.
    """

    def __init__(
        self, count: int, batch: int, seed: int, first: Callable[[], int], rank: int = 0, world: int = 1
    ) -> None:
        self._count, self._batch, self._seed, self._first = count, batch, seed, first
        self._rank, self._world = rank, world
        self._per_epoch = count // (batch * world)
        if not self._per_epoch:
            raise ValueError(
                f"data.train has {count} pictures, too few for one batch of {batch} in each of {world} processes: "
                "choose a smaller batch or give more pictures"
            )

    def __iter__(self) -> Iterator[list[Draw]]:
        """Yield draws, a batch at a time."""
        known = -1
        for number in numbers(self._first()):
            epoch, place = divmod(number, self._per_epoch)
            if epoch != known:
                rng, known = np.random.default_rng((self._seed, epoch)), epoch
                order, seeds = rng.permutation(self._count).tolist(), rng.integers(2**63, size=self._count).tolist()
            start = (place * self._world + self._rank) * self._batch
            yield list(zip(order[start : start + self._batch], seeds[start : start + self._batch], strict=True))


class Drawn(Dataset[Batch]):
    """Items of a data set by draw: their chances are those of its seed, whichever process makes them."""

    def __init__(self, items: Dataset[Batch]) -> None:
        self._items = items

    def __getitem__(self, draw: Draw) -> Batch:
        """Return the item."""
        index, seed = draw
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return self._items[index]


class StepSeed(pl.Callback):
    """Seed PyTorch anew before each optimizer step, for the timesteps and the noise that it draws."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._step = -1

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Seed; not between the batches that one step accumulates."""
        if trainer.global_step != self._step:
            self._step = trainer.global_step
            rng = np.random.default_rng((self._seed, self._step, trainer.global_rank))
            torch.manual_seed(int(rng.integers(2**63)))
