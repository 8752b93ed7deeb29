"""`python -m ops.bench.gpu`: everything, in order, and the report."""

from __future__ import annotations

import argparse
import gc
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import torch

from ops.bench.gpu.checks import batched, compare, independent, predictions, steer
from ops.bench.gpu.engine import Engine
from ops.bench.gpu.goals import BEST, LADDER, Goals, Rung, rung
from ops.bench.gpu.lanes import matmul_peak
from ops.bench.gpu.networks import CONTROLS, SIZES, Images, Networks
from ops.bench.gpu.report import Report


def measure(size_name: str, device: torch.device, *, peak: float, compile_s: float, command: str) -> Report:
    """Run everything.

    Args:
        size_name: A name in `SIZES`.
        device: CUDA or CPU.
        peak: The device's 10^12 bfloat16 operations a second, as stated.
        compile_s: After so many seconds of compiling, the buckets that are left run as graphs of eager kernels.
        command: For the report.
    """
    size, begin = SIZES[size_name], time.perf_counter()

    def say(what: str) -> None:
        print(f"{time.perf_counter() - begin:6.1f} s  {what}", file=sys.stderr, flush=True)

    notes = [] if device.type == "cuda" else ["A CPU has no graphs, streams and Triton: eager calls stand in for them."]
    images = Images(size, device, torch.bfloat16)
    few = list(islice(images.alike(), size.largest // 2))

    say("random networks at float32, and what they predict")
    exact = Networks.random(size.architecture, device)
    expected, steered = predictions(exact, few), steer(exact, few[:2])
    reference = exact.at(torch.bfloat16)
    networks = reference.at(torch.bfloat16, torch.channels_last)
    del exact
    matmul = matmul_peak(device, torch.bfloat16, 8192 if device.type == "cuda" else 256) / 1e12
    parity = [compare("bfloat16, one image at a time", predictions(reference, few), expected)]

    ladder: list[Rung] = []
    for way in LADDER:
        engine = Engine(networks if way.channels_last else reference, size, way)
        for rows in sorted({2, size.middle}):
            engine.prepare(rows, controls=1, compiled=False)
            ladder.append(rung(engine, rows, images, size.steps // 2))
            say(f"{way.name}, {rows} rows: {ladder[-1].ms:.1f} ms a step")
        del engine
        _forget(device)

    engine = Engine(networks, size, BEST)
    spent = engine.prepare_decoder(compiled=True)
    say(f"decoder compiled and recorded in {spent:.0f} s")
    longest = 0.0  # of those that were compiled: the next may take as long
    for rows in size.buckets:
        compiled = not engine.buckets or spent + longest <= compile_s
        took = engine.prepare(rows, controls=CONTROLS, compiled=compiled)
        if compiled:
            spent, longest = spent + took, max(longest, took)
        else:
            notes.append(f"{rows} rows are not compiled: {spent:.0f} s of the {compile_s:g} allowed were spent.")
        say(f"{rows} rows {'compiled and ' if compiled else ''}recorded in {took:.0f} s")
    ladder += [
        replace(
            rung(engine, rows, images, size.steps // 2), way=BEST.name if engine.compiled[rows] else "(not compiled)"
        )
        for rows in sorted({2, size.middle})
    ]

    same: dict[int, tuple[bool, bool]] = {}
    for rows in sorted(engine.buckets):
        found = batched(engine, rows, few)
        parity.append(compare(f"bfloat16, the engine at {rows} rows", found, expected[: len(found)]))
        same[rows] = independent(engine, rows, list(islice(images.alike(), 8)))
    say("compared with float32, and with itself among other neighbours")

    serial, inline = (
        Engine(networks, size, replace(BEST, overlap=False)),
        Engine(networks, size, replace(BEST, inline=True)),
    )
    serial.prepare(2, controls=1, compiled=engine.compiled[2])
    inline.prepare(size.largest, controls=1, compiled=engine.compiled[size.largest])
    inline.prepare_decoder(compiled=True)
    say("measuring the goals")
    figures = []
    for figure in Goals(reference, engine, serial, inline, images, peak).measure():
        figures.append(figure)
        say(f"{figure.goal} {figure.what}: {figure.value:.4g} {figure.unit}")  # should the run be cut short
    say("done")
    return Report(
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU ({platform.machine()})",
        dry=device.type != "cuda" or size_name != "full",
        size=size_name,
        torch=torch.__version__,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=time.perf_counter() - begin,
        command=command,
        peak=peak,
        matmul=matmul,
        steered=steered,
        parity=parity,
        independent=same,
        ladder=ladder,
        figures=figures,
        notes=notes,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write; 1 if the engine's answers are not the reference's."""
    parser = argparse.ArgumentParser(prog="python -m ops.bench.gpu", description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--peak-tflops", type=float, default=790.0, help="of an H100 or H200; 312 of an A100")
    parser.add_argument(
        "--compile-seconds", type=float, default=240.0, help="then the buckets that are left go without"
    )
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="folder for gpu.json and gpu.md")
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = parser.parse_args(given)
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA device here; --device cpu --size small takes the same path")
    report = measure(
        options.size,
        device,
        peak=options.peak_tflops,
        compile_s=options.compile_seconds,
        command=" ".join(["python -m ops.bench.gpu", *given]),
    )
    report.write(options.out)
    print(report.markdown())
    return 0 if report.sound else 1


def _forget(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


if __name__ == "__main__":
    raise SystemExit(main())
