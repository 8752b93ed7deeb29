"""C9: one image, against diffusers' pipeline on the same weights, from the same noise."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from controlnet.bundle import DEMO, Bundle
from controlnet.generate import generate
from controlnet.pipeline import Control, ImageSpec
from ops.bench.bench import Bench
from ops.bench.equality import require_equal
from ops.bench.figure import Figure, paired
from ops.bench.peers.diffusers import Diffusers
from ops.bench.subjects import Subject

WARM_UP = 1  # images of each side that are not timed


def measure(bench: Bench) -> list[Figure]:
    """Seconds from prompt and map to picture. Each image has a new prompt and a new map, so nobody remembers any."""
    subject, effort = bench.demo, bench.effort
    with tempfile.TemporaryDirectory() as folder:
        peer = Diffusers(Bundle.open(DEMO), "canny", Path(folder) / "exported")
    theirs: list[float] = []
    ours: list[float] = []
    apart = 0
    for i in range(WARM_UP + 2 * effort.rounds + 1):
        spec = _spec(subject, i, effort.single_steps)
        noise = subject.pipeline.encode([ImageSpec("", subject.side, subject.side, seed=i, guidance=1.0)])[0].latent
        began = time.perf_counter()
        expected = peer.picture(spec, noise)
        between = time.perf_counter()
        made = generate(subject.pipeline, [spec])[0]
        ended = time.perf_counter()
        apart = max(apart, require_equal({"": made}, {"": expected}))
        if i >= WARM_UP:
            theirs.append(between - began)
            ours.append(ended - between)
    return [
        Figure(
            "C9",
            f"one image of {effort.single_steps} steps: diffusers / ours (1.3 is hoped for)",
            paired(theirs, ours),
            target=1.0,
            detail={
                "seconds": statistics.median(ours),
                "diffusers_seconds": statistics.median(theirs),
                "images": len(ours),
                "levels_apart": apart,
            },
        )
    ]


def _spec(subject: Subject, i: int, steps: int) -> ImageSpec:
    return ImageSpec(
        f"a brass gear number {i}",
        subject.side,
        subject.side,
        negative_prompt=f"rust number {i}",
        steps=steps,
        guidance=3.0,
        seed=i,
        controls=(Control("canny", subject.hint(i)),),
    )
