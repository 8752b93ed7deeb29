"""What is asked of the engine: images by name. Each call makes new hints, as each job brings its own."""

from __future__ import annotations

import random
from collections.abc import Sequence

from controlnet.pipeline import Control, ImageSpec
from ops.bench.subjects import Subject

Specs = dict[str, ImageSpec]

WORDS = ("brass", "copper", "steel"), ("gear", "nut", "bolt", "disc"), ("blue", "green", "white")
GUIDANCES = tuple(1.5 + 0.5 * i for i in range(20))
WINDOWS = (0.0, 1.0), (0.0, 0.5), (0.25, 0.75)


def uniform(subject: Subject, count: int, steps: int) -> Specs:
    """Images that differ in their seeds alone."""
    control = Control("canny", subject.hint(0))
    spec = {"prompt": "a brass gear on a blue bench", "width": subject.side, "height": subject.side}
    return {f"{i}": ImageSpec(**spec, steps=steps, seed=i, controls=(control,)) for i in range(count)}  # type: ignore[arg-type]


def mixed(subject: Subject, count: int, steps: Sequence[int], *, guidances: Sequence[float] = GUIDANCES) -> Specs:
    """Images that differ in everything; step counts come in turn, the rest is drawn."""
    draw = random.Random(0)
    names = sorted(subject.pipeline.controls)
    specs = {}
    for i in range(count):
        start, end = draw.choice(WINDOWS)
        material, part, bench = (draw.choice(words) for words in WORDS)
        specs[f"{i}"] = ImageSpec(
            f"a {material} {part} on a {bench} bench",
            subject.side,
            subject.side,
            negative_prompt="rust",
            steps=steps[i % len(steps)],
            guidance=draw.choice(guidances),
            seed=i,
            controls=(Control(draw.choice(names), subject.hint(i), start=start, end=end),),
        )
    return specs
