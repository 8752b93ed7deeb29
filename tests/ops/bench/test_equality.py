from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from controlnet.generate import generate
from ops.bench.bench import Bench
from ops.bench.crowds import mixed, uniform
from ops.bench.equality import Unequal, crowd, require_equal, require_same_bytes
from ops.bench.runs import model_of, one_at_a_time, together
from ops.bench.subjects import Subject
from tests.ops.bench.conftest import Perturbed

GREY = np.full((4, 4, 3), 100, np.uint8)


def test_equal_pictures_pass() -> None:
    assert require_equal({"a": GREY}, {"a": GREY.copy()}) == 0


def test_one_level_is_allowed() -> None:
    assert require_equal({"a": GREY + np.uint8(1)}, {"a": GREY}) == 1


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ({"a": GREY + np.uint8(2)}, "image a differs by 2 of 255 levels"),
        ({}, "0 images instead of 1"),
        ({"a": ValueError("no")}, "image a is no picture"),
        ({"a": GREY[:2]}, "image a is no picture of the same size"),
    ],
)
def test_anything_else_is_refused(made: dict[str, object], message: str) -> None:
    with pytest.raises(Unequal, match=message):
        require_equal(made, {"a": GREY})


def test_the_real_engine_makes_the_same_bytes_in_a_pinned_bucket(subject: Subject) -> None:
    require_same_bytes(model_of(subject), subject, steps=3)


def test_a_single_level_is_refused_in_a_pinned_bucket(subject: Subject) -> None:
    with pytest.raises(Unequal, match="differs by 1 of 255 levels; 0 are allowed"):
        require_same_bytes(Perturbed(model_of(subject), levels=1), subject, steps=3)


def test_the_real_engine_is_within_the_tolerance_where_buckets_differ(subject: Subject) -> None:
    specs = crowd(subject, 4)
    assert require_equal(together(model_of(subject), specs).pictures, one_at_a_time(subject, specs).pictures) <= 1


def test_images_of_a_crowd_differ_by_more_than_the_tolerance(bench: Bench) -> None:
    pictures = one_at_a_time(bench.tiny, mixed(bench.tiny, 4, (3,))).pictures
    with pytest.raises(Unequal):
        require_equal({"0": pictures["1"]}, {"0": pictures["0"]})


def test_a_swapped_hint_shows(subject: Subject) -> None:
    (spec,) = uniform(subject, 1, 8).values()
    swapped = replace(spec, controls=(replace(spec.controls[0], hint=subject.hint(1)),))
    made, expected = (generate(subject.pipeline, [one])[0] for one in (spec, swapped))
    with pytest.raises(Unequal):
        require_equal({"": made}, {"": expected})
