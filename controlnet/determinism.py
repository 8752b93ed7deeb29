"""An image's bits in any slot of a batch, which cuDNN does not keep.

Seen on an H100, SD 1.5 at float16 in 16 rows: among any neighbours an image's bits are the same, but in another slot of
the batch cuDNN's convolutions give others, with `cudnn.deterministic` too. PyTorch's own give the same; with them a
step of 16 rows takes half as long again, one of 2 rows as long as before (ops/bench/RESULTS.md).
"""

from __future__ import annotations

from threading import Lock

import torch


class WithoutCudnn:
    """A `with` block whose convolutions are PyTorch's own; of any threads, the last that leaves puts cuDNN back.

    The setting is the process's: what other threads compute meanwhile is slower, and as right.
    """

    def __init__(self) -> None:
        self._lock, self._inside, self._before = Lock(), 0, True

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = torch.backends.cudnn.enabled
                torch.backends.cudnn.enabled = False
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                torch.backends.cudnn.enabled = self._before


without_cudnn = WithoutCudnn()
