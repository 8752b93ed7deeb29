"""The static batcher: its policy by the second, its pictures by the pixel."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from controlnet.generate import generate
from controlnet.pipeline import ImageSpec
from ops.bench.crowds import mixed
from ops.bench.equality import require_equal
from ops.bench.peers.static import StaticBatcher, Waiting, choose, key
from ops.bench.runs import Crowd, one_at_a_time
from ops.bench.subjects import Subject

SHORT = ImageSpec("a gear", 32, 32, steps=2)
LONG = replace(SHORT, steps=3)


def waiting(*specs: ImageSpec) -> list[Waiting]:
    """One a second, named by the second it came."""
    return [Waiting(str(at), spec, float(at), Crowd()) for at, spec in enumerate(specs)]


@pytest.mark.parametrize(
    ("specs", "now", "batch", "again"),
    [
        ([], 0.0, [], math.inf),
        ([SHORT], 4.0, [], 5.0),
        ([SHORT], 5.0, ["0"], 5.0),
        ([SHORT, LONG, SHORT], 2.0, ["0", "2"], 2.0),
        ([SHORT, LONG, LONG], 2.0, ["1", "2"], 2.0),
        ([LONG, SHORT, SHORT, SHORT], 5.5, ["0"], 5.5),
        ([SHORT, SHORT, SHORT], 3.0, ["0", "1"], 3.0),
    ],
    ids=["nobody", "waits", "waited", "full", "another is full", "the oldest first", "no more than fit"],
)
def test_batches_of_two_after_five_seconds(specs: list[ImageSpec], now: float, batch: list[str], again: float) -> None:
    chosen, moment = choose(waiting(*specs), now, largest=2, wait=5.0)
    assert ([one.name for one in chosen], moment) == (batch, again)


def test_guidance_seed_and_prompt_may_differ_within_a_batch() -> None:
    assert key(SHORT) == key(replace(SHORT, prompt="a nut", seed=3, guidance=2.0))


@pytest.mark.parametrize("other", [{"steps": 3}, {"sampler": "euler"}, {"width": 64}, {"guidance": 1.0}])
def test_what_a_call_has_one_of_may_not(other: dict[str, object]) -> None:
    assert key(SHORT) != key(replace(SHORT, **other))


def test_windows_may_not_differ(subject: Subject) -> None:
    keys = {key(replace(spec, steps=2)) for spec in mixed(subject, 20, (2,)).values()}
    assert len(keys) == 3


def test_pictures_are_those_of_one_at_a_time(subject: Subject) -> None:
    specs = mixed(subject, 6, (1, 2))
    sizes: list[int] = []
    batcher = StaticBatcher(lambda batch: sizes.append(len(batch)) or generate(subject.pipeline, batch), 4, 0.0)
    crowd = Crowd()
    for name, spec in specs.items():
        batcher.submit(name, spec, crowd)
    batcher.start()
    crowd.wait(6)
    batcher.stop()
    require_equal(crowd.pictures, one_at_a_time(subject, specs).pictures)
    assert max(sizes) > 1


def test_what_the_batch_raises_is_everyones_end() -> None:
    batcher, crowd, error = StaticBatcher(lambda batch: 1 / 0, 4, 0.0), Crowd(), "division by zero"
    batcher.submit("a", SHORT, crowd)
    batcher.start()
    crowd.wait(1)
    batcher.stop()
    assert str(crowd.pictures["a"]) == error
