"""Many images at a time, each at its own step: fixed buckets, recorded graphs, lanes for controls and for decoding.

A step of a bucket of R rows (R/2 images; conditional rows first) is three recorded pieces. Each control runs on its own
rows, padded up to a bucket, beside the UNet's way down; the way up needs both:

    main lane    numbers in -> descend -------------------------> ascend, guidance, sampler
    side lane    gather rows -> control, one after another -> sum of residuals --^
    decode lane  finished latents -> pictures -> CPU, while the next steps run
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from controlnet.samplers import ddim
from ops.bench.gpu.batch import Bucket, Decoder, Group, Piece
from ops.bench.gpu.lanes import Lane, synchronise, tuned
from ops.bench.gpu.networks import Image, Networks, Size


@dataclass(frozen=True, slots=True)
class Way:
    """How the networks are run. On a CPU there are no graphs and lanes, and compiling stops short of making code.

    Attributes:
        name: For the table.
        flash: Fused attention; else its formula.
        channels_last: Memory format, and cuDNN may try its convolutions out.
        graphs: CUDA graphs, captured by hand.
        compiled: By `torch.compile`, for each bucket's shape by itself.
        overlap: A lane of its own for controls.
        inline: Decode in the main lane.
    """

    name: str
    flash: bool = True
    channels_last: bool = False
    graphs: bool = False
    compiled: bool = False
    overlap: bool = False
    inline: bool = False


@dataclass(slots=True)
class Slot:
    """An image on its way: `lines` are each step's timestep, guidance, c0..c3."""

    image: Image
    lines: list[list[float]]
    index: int


@dataclass(slots=True)
class Run:
    """What some steps gave.

    Attributes:
        seconds: From the first image's coming to the last picture's leaving.
        image_steps: Steps times images.
        control_steps: Those of them with a control, counted once a control.
        pictures: Decoded pictures, uint8 [H,W,3], in the order of finishing.
        step_ms: Of each step, from the end of the one before.
    """

    seconds: float = 0.0
    image_steps: int = 0
    control_steps: int = 0
    pictures: list[Tensor] = field(default_factory=list)
    step_ms: list[float] = field(default_factory=list)


class Engine:
    """Networks run in one way, in the buckets that were made ready.

    Attributes:
        compiled: Whether a bucket is, by rows.
    """

    def __init__(self, networks: Networks, size: Size, way: Way) -> None:
        self.networks, self.size, self.way = networks, size, way
        self._main = Lane(networks.device, urgent=True)
        self._side = Lane(networks.device, urgent=True) if way.overlap else self._main
        self._decoding = self._main if way.inline else Lane(networks.device)
        self.buckets: dict[int, Bucket] = {}
        self.compiled: dict[int, bool] = {}
        self._groups: dict[tuple[int, int], Group] = {}  # by control and rows
        self._decoder: Decoder | None = None
        self._indices: dict[tuple[tuple[int, ...], int], tuple[Tensor, Tensor]] = {}

    def prepare(self, rows: int, *, controls: int, compiled: bool) -> float:
        """Compile and record a bucket and its groups of the first `controls` controls; returns seconds."""
        begin = time.perf_counter()
        wrap, graph = self._compile if compiled else _leave, self.way.graphs
        with self.settings():
            bucket = Bucket(self.networks, self.size, rows, self._main, wrap, graph=graph)
            for control in range(controls):
                self._groups[control, rows] = Group(self.networks, control, bucket, self._side, wrap, graph=graph)
        synchronise(self.networks.device)
        self.buckets[rows], self.compiled[rows] = bucket, compiled
        return time.perf_counter() - begin

    def prepare_decoder(self, *, compiled: bool) -> float:
        """Compile and record decoding; returns seconds."""
        begin = time.perf_counter()
        wrap, graph = self._compile if compiled else _leave, self.way.graphs
        with self.settings():
            self._decoder = Decoder(self.networks, self.size, self._decoding, wrap, graph=graph)
        synchronise(self.networks.device)
        return time.perf_counter() - begin

    def run(self, rows: int, supply: Iterator[Image], steps: int, *, decode: bool = False, stagger: bool = True) -> Run:
        """Take `steps` steps with all slots full: where an image ends, the next begins.

        Args:
            rows: The bucket.
            supply: Endless.
            steps: Of the bucket.
            decode: Whether finished images are decoded.
            stagger: Start the slots' first images at different steps, as if the bucket had long been running.
        """
        bucket, run = self.buckets[rows], Run()
        synchronise(self.networks.device)
        with self.settings():
            marks = [self._main.mark()]
            slots = []
            for number in range(bucket.images):
                image = next(supply)
                slots.append(self.load(bucket, number, image, number * image.steps // bucket.images * stagger))
            for _ in range(steps):
                acting = self.step(bucket, slots)
                run.image_steps += len(slots)
                run.control_steps += sum(len(images) for images in acting.values())
                for number, slot in enumerate(slots):
                    slot.index += 1
                    if slot.index == slot.image.steps:
                        if decode:
                            run.pictures.append(self._decode(bucket.latents[number]))
                        slots[number] = self.load(bucket, number, next(supply))
                marks.append(self._main.mark())
            self._main.wait(self._decoding)
            run.seconds = marks[0].ms_until(self._main.mark()) / 1000
        run.step_ms = [before.ms_until(after) for before, after in pairwise(marks)]
        return run

    def load(self, bucket: Bucket, number: int, image: Image, index: int = 0) -> Slot:
        """Put an image into a slot, at any of its steps; its hint is embedded here, once for each control."""
        with self._main():
            bucket.latents[number].copy_(image.noise)
            bucket.previous[number].zero_()
            bucket.context[number].copy_(image.context[0])
            bucket.context[number + bucket.images].copy_(image.context[1])
            for control in image.controls:
                bucket.hints[control][number].copy_(self.networks.controls[control].embed(image.hint[None])[0])
        plan = ddim(self.networks.schedule, image.steps)
        pairs = zip(plan.timesteps.tolist(), plan.coefficients.tolist(), strict=True)
        return Slot(image, [[float(t), image.guidance, *line] for t, line in pairs], index)

    def step(self, bucket: Bucket, slots: Sequence[Slot]) -> Mapping[int, list[int]]:
        """Advance all images by one step; returns the images on which each control acted."""
        acting: dict[int, list[int]] = {}
        for number, slot in enumerate(slots):
            if slot.image.acts(slot.index):
                for control in slot.image.controls:
                    acting.setdefault(control, []).append(number)
        numbers = self._sent([slot.lines[slot.index] for slot in slots])
        with self._main():
            bucket.numbers.copy_(numbers, non_blocking=True)
        self._side.wait(self._main)
        with self._side():
            bucket.clear()
            for control in sorted(acting):  # one order of summation, whoever the neighbours are
                rows = (*acting[control], *(number + bucket.images for number in acting[control]))
                fits = min(r for c, r in self._groups if c == control and r >= len(rows))
                all_rows = rows == tuple(range(bucket.rows))
                self._groups[control, fits].steer(bucket, *self._index(rows, fits), all_rows=all_rows)
        bucket.descend()
        self._main.wait(self._side)
        bucket.ascend()
        return acting

    def settings(self) -> ExitStack:
        """The global settings of this way, for as long as it runs."""
        stack = ExitStack()
        stack.enter_context(torch.no_grad())
        stack.enter_context(tuned(benchmark=self.way.channels_last))
        if not self.way.flash:
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        return stack

    def _decode(self, latent: Tensor) -> Tensor:
        """A finished latent's picture, which is on its way to the CPU."""
        if self._decoder is None:
            raise ValueError("no decoder was prepared")
        with self._main():
            finished = latent.clone()  # another image takes its place
        self._decoding.wait(self._main)
        with self._decoding():
            self._decoder.latent[0].copy_(finished)
            if self._decoding.stream is not None:
                finished.record_stream(self._decoding.stream)
            picture = self._decoder.picture()
            pinned = picture.device.type == "cuda"
            there = torch.empty(picture.shape, dtype=picture.dtype, pin_memory=pinned)
            return there.copy_(picture, non_blocking=pinned)

    def _index(self, rows: tuple[int, ...], padded: int) -> tuple[Tensor, Tensor]:
        """Rows padded with the first of them, and 1 for rows, 0 for padding; they stay on the device."""
        if (rows, padded) not in self._indices:
            padding = padded - len(rows)
            both = self._sent([[*rows, *rows[:1] * padding], [1] * len(rows) + [0] * padding])
            index, scale = both.to(self.networks.device, non_blocking=True).long()
            self._indices[rows, padded] = index, scale.view(-1, 1, 1, 1)
        return self._indices[rows, padded]

    def _sent(self, numbers: Sequence[Sequence[float]]) -> Tensor:
        """A tensor that goes to the device without anyone waiting for it."""
        return torch.tensor(numbers, dtype=torch.float32, pin_memory=self.networks.device.type == "cuda")

    def _compile(self, piece: Piece) -> Piece:
        backend = "inductor" if self.networks.device.type == "cuda" else "eager"
        torch._dynamo.config.recompile_limit = 64  # a piece is compiled for every bucket and network
        return torch.compile(piece, dynamic=False, fullgraph=True, backend=backend)


def _leave(piece: Piece) -> Piece:
    return piece
