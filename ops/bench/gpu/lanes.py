"""Streams, graphs and time, with what stands for them on a CPU: nothing, calls, the clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from statistics import median
from typing import Generic, TypeVar

import torch

Answer = TypeVar("Answer")

WARM_UPS = 3


class Mark:
    """A moment in a lane's work."""

    def __init__(self, stream: torch.cuda.Stream | None) -> None:
        self._event = torch.cuda.Event(enable_timing=True) if stream is not None else None  # type: ignore[no-untyped-call]
        if self._event is not None:
            self._event.record(stream)
        self._time = time.perf_counter()

    def ms_until(self, later: Mark) -> float:
        """Milliseconds; waits until both have come."""
        if self._event is None or later._event is None:
            return 1000 * (later._time - self._time)
        later._event.synchronize()
        return float(self._event.elapsed_time(later._event))


class Lane:
    """A CUDA stream and the memory that its graphs share. On a CPU all lanes are the caller's.

    Graphs of one lane may share memory, because what one leaves there is used before the next of them runs.
    """

    def __init__(self, device: torch.device, *, urgent: bool = False) -> None:
        cuda = device.type == "cuda"
        self.stream = torch.cuda.Stream(device, priority=-1 if urgent else 0) if cuda else None  # type: ignore[no-untyped-call]
        self.pool = torch.cuda.graph_pool_handle() if cuda else None

    def __call__(self) -> AbstractContextManager[object]:
        """Work of the `with` block goes to this lane."""
        return torch.cuda.stream(self.stream) if self.stream is not None else nullcontext()

    def wait(self, other: Lane) -> None:
        """Go on only when what `other` was given so far is done."""
        if self.stream is not None and other.stream is not None:
            self.stream.wait_stream(other.stream)

    def mark(self) -> Mark:
        """The moment when what this lane was given so far is done."""
        return Mark(self.stream)


class Recorded(Generic[Answer]):
    """A function of always the same tensors, recorded once as a graph and replayed in its lane."""

    def __init__(self, function: Callable[[], Answer], lane: Lane, *, graph: bool) -> None:
        self._function, self._lane = function, lane
        self._graph = torch.cuda.CUDAGraph() if graph and lane.stream is not None else None
        if lane.stream is not None:
            lane.stream.wait_stream(torch.cuda.current_stream(lane.stream.device))
        with lane():
            for _ in range(WARM_UPS if lane.stream is not None else 1):  # compiles, tunes, allocates
                self._answer = function()
        if self._graph is not None:
            torch.cuda.synchronize()
            with torch.cuda.graph(self._graph, pool=lane.pool, stream=lane.stream, capture_error_mode="thread_local"):
                self._answer = function()

    def __call__(self) -> Answer:
        """Answer with the same tensors each time, if it is a graph."""
        with self._lane():
            if self._graph is None:
                return self._function()
            self._graph.replay()
            return self._answer


def synchronise(device: torch.device) -> None:
    """Wait for all lanes."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def tuned(benchmark: bool) -> AbstractContextManager[None]:
    """Whether cuDNN tries its convolutions out before it chooses one."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=benchmark, deterministic=False, allow_tf32=False)


def matmul_peak(device: torch.device, dtype: torch.dtype, side: int) -> float:
    """Operations a second of the product of two square matrices: what this device gives at best."""
    lane = Lane(device)
    with lane():
        a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
        for _ in range(WARM_UPS):
            a @ b
        marks = [lane.mark()]
        for _ in range(10):
            a @ b
            marks.append(lane.mark())
    times = [before.ms_until(after) for before, after in pairwise(marks)]
    return 2 * side**3 / (median(times) / 1000)
