"""What the library's own `Pipeline`, which the platform serves, gives on a device: `python -m ops.bench.served`.

No recorded graphs, no lanes, no compiling: how far this lies below `python -m ops.bench.gpu` is what they would bring.
SD 1.5 has random weights; the demo has its own. `--device cpu --model demo` takes the same path in a minute.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import torch

from controlnet.architecture import SD15
from controlnet.bundle import DEMO
from controlnet.flops import flops
from controlnet.generate import generate
from controlnet.pipeline import Control, ImageSpec, Pipeline
from controlnet.text import TextEncoder, Tokenizer
from ops.bench.gpu.lanes import synchronise
from ops.bench.gpu.networks import Networks

SETTLING = 2  # steps that are not timed


@dataclass(frozen=True, slots=True)
class Line:
    """A step at so many rows, with one control: milliseconds, and 10^12 operations a second."""

    rows: int
    ms: float
    tflops: float


@dataclass(frozen=True, slots=True)
class Served:
    """A model's figures.

    Attributes:
        name: Of the model.
        side: Of the pictures, in pixels.
        steps: Of an image.
        lines: By rows.
        alone: Seconds of one image, from its prompt to its pixels on the CPU.
        together: Images a second of as many at once as the most rows hold.
    """

    name: str
    side: int
    steps: int
    lines: list[Line]
    alone: float
    together: float

    def markdown(self) -> str:
        """A table, and a line under it."""
        head = [f"| {self.name}, {self.side} px: rows of a step | ms | TFLOP/s |", "|---|---|---|"]
        rows = [f"| {line.rows} | {line.ms:.4g} | {line.tflops:.4g} |" for line in self.lines]
        most = max(line.rows for line in self.lines) // 2
        tail = (
            f"One image of {self.steps} steps takes {self.alone:.3g} s; {most} at once, {self.together:.3g} a second."
        )
        return "\n".join([*head, *rows, "", tail, ""])


def full(device: torch.device, dtype: torch.dtype) -> Pipeline:
    """SD 1.5 with random weights in every layer, and the demo's tokenizer, whose tokens are among its own."""
    networks = Networks.random(SD15, device)
    return Pipeline(
        SD15,
        unet=networks.unet,
        vae=networks.vae,
        text=TextEncoder(SD15.text),
        tokenizer=Tokenizer(DEMO / "tokenizer", SD15.text.max_position_embeddings),
        controls={"canny": networks.controls[0]},
        device=device,
        dtype=dtype,
    )


def serve(name: str, pipeline: Pipeline, side: int, steps: int, buckets: Sequence[int], repeats: int) -> Served:
    """Measure a pipeline.

    Args:
        name: Of the model.
        pipeline: With a control named canny.
        side: Of the pictures, in pixels.
        steps: Of an image.
        buckets: Rows of a step; the last is what is asked for at once.
        repeats: Of each measurement; the median counts.
    """
    hint = torch.rand(3, side, side, generator=torch.Generator().manual_seed(0))
    one = ImageSpec("a brass gear on a blue bench", side, side, steps=steps, guidance=3.0)
    images = [replace(one, seed=seed, controls=(Control("canny", hint),)) for seed in range(max(buckets) // 2)]
    cost = flops(pipeline.architecture, side, side)
    lines = []
    for rows in buckets:
        ms = median(_steps(pipeline, images[: rows // 2]))
        lines.append(Line(rows, ms, rows * (cost.unet + cost.control) / ms / 1e9))
    alone = [_seconds(pipeline, images[:1]) for _ in range(repeats)]
    together = [_seconds(pipeline, images) for _ in range(repeats)]
    return Served(name, side, steps, lines, median(alone), len(images) / median(together))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m ops.bench.served", description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--model", choices=["demo", "full"], action="append", help="both if absent")
    parser.add_argument("--dtype", choices=["float32", "float16", "bfloat16"], default="float16", help="of full")
    parser.add_argument("--rows", type=int, nargs="+", default=[2, 8, 16, 32])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="folder for gpu-served.md")
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA device here; --device cpu --model demo takes the same path")
    on = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    title = f"### What the library's own pipeline gives: {on}, {datetime.now(UTC):%Y-%m-%d}, torch {torch.__version__}"
    text = [title + "\n"]
    for model in options.model or ["demo", "full"]:
        if model == "full":
            pipeline, name, side = full(device, getattr(torch, options.dtype)), "SD 1.5", 512
        else:
            pipeline, name, side = Pipeline.load(DEMO, device=device), "the demo", 256
        name = f"{name} at {str(pipeline.dtype).removeprefix('torch.')}"
        text.append(serve(name, pipeline, side, options.steps, options.rows, options.repeats).markdown())
        print(text[-1], flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "gpu-served.md").write_text("\n".join(text), encoding="utf-8")
    return 0


def _steps(pipeline: Pipeline, specs: Sequence[ImageSpec]) -> list[float]:
    """Milliseconds of each step."""
    states, times = pipeline.encode(specs), []
    for _ in range(states[0].steps):
        synchronise(pipeline.device)
        begin = time.perf_counter()
        states = pipeline.step(states)
        synchronise(pipeline.device)
        times.append(1000 * (time.perf_counter() - begin))
    return times[SETTLING:]


def _seconds(pipeline: Pipeline, specs: Sequence[ImageSpec]) -> float:
    begin = time.perf_counter()
    generate(pipeline, specs)  # ends on the CPU
    return time.perf_counter() - begin


if __name__ == "__main__":
    raise SystemExit(main())
