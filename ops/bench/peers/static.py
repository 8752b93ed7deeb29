"""Static batching, as request batchers do it: images of one key gather for a while, then run together to their end.

What must be equal in a batch is what one call of a pipeline has one of: size, steps, sampler and the windows of the
controls. Prompts, seeds, hints and - more than most pipelines grant - guidances and the controls themselves may differ.
With batches of one and no wait it is a queue that makes one image at a time.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from controlnet.pipeline import ImageSpec
from ops.bench.runs import Crowd

Make = Callable[[Sequence[ImageSpec]], Sequence[object]]


@dataclass(frozen=True, slots=True)
class Waiting:
    """An image that waits, since when, and who is told of its end."""

    name: str
    spec: ImageSpec
    since: float
    crowd: Crowd


def key(spec: ImageSpec) -> Hashable:
    """What the images of a batch have in common."""
    windows = tuple((control.start, control.end, control.guess) for control in spec.controls)
    return spec.width, spec.height, spec.steps, spec.sampler, spec.eta, spec.timesteps, spec.rows, windows


def choose(waiting: Sequence[Waiting], now: float, largest: int, wait: float) -> tuple[list[Waiting], float]:
    """The batch to run now, or none and the moment to look again.

    Among the keys that are full or whose oldest image has waited long enough, the one with the oldest image is next.

    Args:
        waiting: Oldest first.
        now: As `Waiting.since`.
        largest: Images in a batch.
        wait: Seconds that an image waits for others.
    """
    keys: dict[Hashable, list[Waiting]] = {}
    for one in waiting:
        keys.setdefault(key(one.spec), []).append(one)
    for members in keys.values():  # in the order of their oldest
        if len(members) >= largest or now >= members[0].since + wait:
            return members[:largest], now
    return [], min((members[0].since + wait for members in keys.values()), default=math.inf)


class StaticBatcher:
    """One thread that runs batches to their end.

    Args:
        make: Specs to pictures.
        largest: Images in a batch.
        wait: Seconds that an image waits for others.
    """

    def __init__(self, make: Make, largest: int, wait: float) -> None:
        self._make, self._largest, self._wait = make, largest, wait
        self._waiting: list[Waiting] = []
        self._over = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._loop, name="static-batcher", daemon=True)

    def start(self) -> None:
        """Begin to run batches."""
        self._thread.start()

    def submit(self, name: str, spec: ImageSpec, crowd: Crowd) -> None:
        """Accept an image."""
        with self._changed:
            self._waiting.append(Waiting(name, spec, time.perf_counter(), crowd))
            self._changed.notify_all()

    def stop(self) -> None:
        """Run no further batch."""
        with self._changed:
            self._over = True
            self._changed.notify_all()
        self._thread.join()

    def _loop(self) -> None:
        while batch := self._next():
            try:
                results = self._make([one.spec for one in batch])
            except Exception as error:  # it stands where the pictures would, so that nobody waits for ever
                results = [error] * len(batch)
            for one, result in zip(batch, results, strict=True):
                one.crowd.end(one.name, result)

    def _next(self) -> list[Waiting]:
        """Wait for a batch; none at the end."""
        with self._changed:
            while not self._over:
                now = time.perf_counter()
                batch, again = choose(self._waiting, now, self._largest, self._wait)
                if batch:
                    self._waiting = [one for one in self._waiting if one not in batch]
                    return batch
                self._changed.wait(None if math.isinf(again) else again - now)
            return []
