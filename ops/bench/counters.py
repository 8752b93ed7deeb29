"""What a network really computed, counted where it is called: lines of its batches, told apart by their bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from torch import Tensor, nn

from controlnet.pipeline import bucket_for


@dataclass(slots=True)
class Counter:
    """Of one network.

    Attributes:
        lines: Computed because something needed them, each as often as it was computed.
        padding: Copies within a batch that filled it up to its bucket.
        calls: Batches.
    """

    lines: int = 0
    padding: int = 0
    calls: int = 0

    def count(self, module: nn.Module, inputs: tuple[object, ...]) -> None:
        """A forward pre-hook. A line is what all tensors given to the network hold at one place of the batch."""
        tensors = [one.detach().cpu().contiguous() for one in inputs if isinstance(one, Tensor)]
        size = len(tensors[0])
        distinct = {_digest([tensor[i] for tensor in tensors]) for i in range(size)}
        # Copies beyond the smallest bucket that holds the others are no padding: they count as work.
        padding = min(size - len(distinct), bucket_for(len(distinct)) - len(distinct))
        self.calls += 1
        self.padding += padding
        self.lines += size - padding


@contextmanager
def counting(nets: dict[str, nn.Module]) -> Iterator[dict[str, Counter]]:
    """Count the calls of these networks for a while."""
    counters = {name: Counter() for name in nets}
    with ExitStack() as hooks:
        for name, net in nets.items():
            hooks.callback(net.register_forward_pre_hook(counters[name].count).remove)
        yield counters


def _digest(tensors: list[Tensor]) -> bytes:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.numpy().tobytes())
    return digest.digest()
