"""Beside other work: the engine's seconds next to busy loops of one thread each, and without any.

Beside k loops on c cores a fair share of the machine makes an image take (k + c) / c of its quiet time. The other side
spins at every barrier, as GNU's OpenMP does by itself (`controlnet.spinning`).
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence

from controlnet.pipeline import Control, ImageSpec
from controlnet.spinning import Spinning
from ops.bench.bench import Bench
from ops.bench.equality import require_equal
from ops.bench.figure import Figure, paired
from ops.bench.runs import DIGEST, together
from ops.bench.subjects import Subject
from serve.sampler import PipelineModel

LOOPS = (1, 2, 4)
IMAGES = (1, 8)  # 2 rows and 16
ALLOWED = 1.3
"""Times the fair share that an image may take."""

QUIET_ALLOWED = 1.05
"""Times that it may take on a quiet machine of what it takes where threads always spin."""


def measure(bench: Bench) -> Sequence[Figure]:
    """Two kinds of figures for each number of images: quiet against always spinning, and beside loops against quiet."""
    cores = len(os.sched_getaffinity(0))
    figures = []
    for count in IMAGES:
        specs = {str(i): _spec(bench.demo, i, bench.effort.single_steps) for i in range(count)}
        model = bench.model(bench.demo)
        always = _always_spinning(model)
        expected = together(always, specs)  # not timed: the first
        require_equal(together(model, specs).pictures, expected.pictures)
        pairs = [(together(model, specs), together(always, specs)) for _ in range(bench.effort.rounds)]
        quiet = statistics.median(ours.seconds for ours, _ in pairs)
        ratio = paired([ours.seconds for ours, _ in pairs], [theirs.seconds for _, theirs in pairs])
        title = f"quiet, {count} images: seconds / always spinning"
        figures.append(Figure("busy", title, ratio, QUIET_ALLOWED, at_most=True, detail={"seconds": quiet}))
        for loops in LOOPS:
            with busy(loops):
                runs = [together(model, specs) for _ in range(bench.effort.rounds)]
                spinning = together(always, specs)
            for run in (*runs, spinning):
                require_equal(run.pictures, expected.pictures)
            seconds = [run.seconds for run in runs]
            detail = {"seconds": seconds, "quiet": quiet, "always spinning": spinning.seconds}
            share = (loops + cores) / cores
            title = f"beside {loops} loops, {count} images: seconds / quiet"
            value = statistics.median(seconds) / quiet
            figures.append(Figure("busy", title, value, ALLOWED * share, at_most=True, detail=detail))
    return figures


@contextlib.contextmanager
def busy(loops: int) -> Iterator[None]:
    """So many processes that compute meanwhile."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def _always_spinning(model: object) -> PipelineModel:
    """The same networks under a watch that sees nothing."""
    assert isinstance(model, PipelineModel)
    assert DIGEST in model.shelf
    return PipelineModel(model.shelf, spinning=Spinning(lambda: (0.0, 0)))


def _spec(subject: Subject, seed: int, steps: int) -> ImageSpec:
    controls = (Control(min(subject.pipeline.controls), subject.hint(seed)),)
    side = subject.side
    return ImageSpec("a brass gear", side, side, steps=steps, guidance=3.0, seed=seed, controls=controls)
