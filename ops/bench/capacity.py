"""C1: a backlog of equal images through the engine, against one at a time and against the bare batched step."""

from __future__ import annotations

import statistics
import time

from controlnet.pipeline import BUCKETS
from ops.bench.bench import Bench
from ops.bench.crowds import uniform
from ops.bench.equality import require_equal, require_same_bytes
from ops.bench.figure import Figure, paired
from ops.bench.runs import MAX_ROWS, Run, image_steps, one_at_a_time, together
from ops.bench.subjects import Subject
from ops.bench.threads import alone


def measure(bench: Bench) -> list[Figure]:
    """Both models."""
    return [against_one_at_a_time(bench), against_the_bare_step(bench)]


def against_one_at_a_time(bench: Bench) -> Figure:
    """The tiny model: how much of batching's gain is left in the engine."""
    subject, effort = bench.tiny, bench.effort
    model = bench.model(subject)
    require_same_bytes(model, subject)
    alone: list[Run] = []
    engine: list[Run] = []
    for _ in range(effort.rounds):
        alone.append(one_at_a_time(subject, uniform(subject, effort.backlog, effort.steps)))
        engine.append(together(model, uniform(subject, effort.backlog, effort.steps)))
    apart = max(require_equal(a.pictures, b.pictures) for a, b in zip(engine, alone, strict=True))
    return Figure(
        "C1 tiny",
        f"a backlog of {effort.backlog} equal images: engine / one at a time",
        paired([run.seconds for run in alone], [run.seconds for run in engine]),
        target=2.5,
        detail={
            "images_per_second": _rates(effort.backlog, engine),
            "one_at_a_time_images_per_second": _rates(effort.backlog, alone),
            "levels_apart": apart,
        },
    )


def against_the_bare_step(bench: Bench) -> Figure:
    """The demo: what starting, decoding, bookkeeping and padding cost beside the steps themselves."""
    subject, effort = bench.demo, bench.effort
    model = bench.model(subject)
    require_same_bytes(model, subject)
    reference = one_at_a_time(subject, uniform(subject, 4, effort.steps))
    rates = {images: bare(subject, images, 3) for images in BUCKETS if 2 * images <= MAX_ROWS}
    best = max(rates, key=lambda images: rates[images])
    raw: list[float] = []
    engine: list[Run] = []
    apart = 0
    for _ in range(effort.rounds):
        raw.append(bare(subject, best, effort.raw_steps))
        engine.append(together(model, uniform(subject, effort.native_backlog, effort.steps)))
        made = {name: picture for name, picture in engine[-1].pictures.items() if name in reference.pictures}
        apart = max(apart, require_equal(made, reference.pictures))
    work = image_steps(uniform(subject, effort.native_backlog, effort.steps))
    return Figure(
        "C1 demo",
        f"a backlog of {effort.native_backlog} equal images: engine / bare batched steps",
        paired([work / run.seconds for run in engine], raw),
        target=0.9,
        detail={
            "images_per_second": _rates(effort.native_backlog, engine),
            "image_steps_per_second": statistics.median(work / run.seconds for run in engine),
            "bare_image_steps_per_second": {f"{2 * images} rows": rate for images, rate in rates.items()},
            "best_rows": 2 * best,
            "levels_apart": apart,
        },
    )


def bare(subject: Subject, images: int, steps: int) -> float:
    """Image-steps a second of `pipeline.step` in a loop, one step before it not counted."""

    def run() -> float:
        states = subject.pipeline.encode(list(uniform(subject, images, steps + 1).values()))
        states = subject.pipeline.step(states)
        began = time.perf_counter()
        for _ in range(steps):
            states = subject.pipeline.step(states)
        return images * steps / (time.perf_counter() - began)

    return alone(run)


def _rates(images: int, runs: list[Run]) -> float:
    return statistics.median(images / run.seconds for run in runs)
