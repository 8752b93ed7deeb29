"""The plain loop: all images start together and step until the last is done.

Slow and obvious on purpose. It is what a notebook wants, and what the continuous engine of `serve` is tested against.

    from controlnet.generate import generate
    from controlnet.pipeline import ImageSpec, Pipeline
    pictures = generate(Pipeline.load("controlnet/demo"), [ImageSpec("a brass gear on a blue bench", 128, 128)])

With a control, whose hint is made from any photograph, uint8 [H, W, 3], at the size of the image:

    from controlnet.annotators import find, resize
    from controlnet.pipeline import Control
    from controlnet.pixels import to_hint
    edges = find("canny")(resize(photograph, 256, 256))
    spec = ImageSpec("brass discs on a blue bench", 256, 256, controls=(Control("canny", to_hint(edges)),))
    pictures = generate(Pipeline.load("controlnet/demo"), [spec])
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing

from controlnet.pipeline import BUCKETS, ImageSpec, Pipeline
from controlnet.pixels import Bytes
from controlnet.spinning import Spinning


def generate(
    pipeline: Pipeline,
    specs: Sequence[ImageSpec],
    *,
    pinned: int | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> list[Bytes]:
    """Make the images of `specs`, which must share one size.

    Args:
        pipeline: The networks.
        specs: One per image.
        pinned: Rows of the one bucket to use, for bytes that can be repeated.
        on_step: Called with (steps done, steps in all) of the longest image.

    Returns:
        uint8 [H, W, 3] RGB, in the order of `specs`.

    Raises:
        ValueError: Specs of several sizes, a `pinned` that holds no image, or what `Pipeline.encode` refuses.
    """
    if not specs:
        return []
    if len(sizes := sorted({f"{spec.width}x{spec.height}" for spec in specs})) > 1:
        raise ValueError(f"specs have sizes {', '.join(sizes)}: generate makes one size at a time")
    rows = max(spec.rows for spec in specs)
    width = (BUCKETS[-1] if pinned is None else pinned) // rows  # images a step
    if width < 1:
        raise ValueError(f"pinned is {pinned}: an image takes {rows} rows")
    states = pipeline.encode(specs, pinned)
    most = max(state.steps for state in states)
    with closing(Spinning()) as spinning:
        for done in range(1, most + 1):
            running = [i for i, state in enumerate(states) if not state.done]
            for chunk in (running[begin : begin + width] for begin in range(0, len(running), width)):
                for i, state in zip(chunk, pipeline.step([states[i] for i in chunk], pinned), strict=True):
                    states[i] = state
            spinning.look()
            if on_step is not None:
                on_step(done, most)
        return pipeline.decode(states, pinned)
