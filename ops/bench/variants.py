"""The same step with other numbers or layouts: what was tried, and what it is worth on this machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import torch

from controlnet.bundle import DEMO
from controlnet.pipeline import Pipeline
from ops.bench.bench import Bench
from ops.bench.crowds import uniform
from ops.bench.subjects import Subject
from ops.bench.table import Table

STEPS = 8
COLUMNS = ["variant", "images", "ms a step", "default / variant", "latents apart"]


def measure(bench: Bench) -> list[Table]:
    """The demo's step in each variant, alternated; how far latents are from the default's, of the largest value."""
    return [compare(bench, {"contiguous": contiguous, "bfloat16": bfloat16})]


def compiled(bench: Bench) -> list[Table]:
    """The same for torch.compile, apart: compiling takes minutes."""
    return [compare(bench, {"torch.compile": compile_})]


def compare(bench: Bench, variants: dict[str, Callable[[], Pipeline]], sizes: Sequence[int] = (1, 4, 8)) -> Table:
    """Each variant beside the default, in batches of so many images."""
    side = bench.demo.side
    subjects = {"default": bench.demo} | {name: Subject(name, make(), side) for name, make in variants.items()}
    rows: list[list[str | float]] = []
    for images in sizes:
        seconds: dict[str, list[float]] = {name: [] for name in subjects}
        latents: dict[str, torch.Tensor] = {}
        states = {
            name: subject.pipeline.encode(list(uniform(subject, images, STEPS + 1).values()))
            for name, subject in subjects.items()
        }
        for step in range(STEPS + 1):
            for name, subject in subjects.items():
                began = time.perf_counter()
                states[name] = subject.pipeline.step(states[name])
                if step > 0:
                    seconds[name].append(time.perf_counter() - began)
                latents[name] = states[name][0].latent
        default = statistics.median(seconds["default"])
        for name, took in seconds.items():
            median = statistics.median(took)
            apart = (latents[name] - latents["default"]).abs().max() / latents["default"].abs().max()
            rows.append([name, images, 1000 * median, default / median, f"{float(apart):.1e}"])
    return Table(f"Variants of one step of {bench.demo.name}", COLUMNS, rows)


def contiguous() -> Pipeline:
    """Weights laid out as they are in the files."""
    pipeline = Pipeline.load(DEMO)
    for net in (pipeline.unet, *pipeline.controls.values()):
        net.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return pipeline


def bfloat16() -> Pipeline:
    """Half the bits; `CN_DTYPE=bfloat16` serves it. It changes pictures a little."""
    return Pipeline.load(DEMO, dtype=torch.bfloat16)


def compile_() -> Pipeline:
    """UNet and controls compiled for each batch shape."""
    pipeline = Pipeline.load(DEMO)
    for net in (pipeline.unet, *pipeline.controls.values()):
        net.compile(dynamic=False)
    return pipeline
