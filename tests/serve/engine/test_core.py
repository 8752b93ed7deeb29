from __future__ import annotations

import pytest

from serve.engine.core import Batch, EngineClosed, EngineDead, Image
from tests.serve.engine.conftest import SMALL, picture


@pytest.mark.parametrize("rows", [0, 3])
def test_an_image_takes_one_or_two_rows(rows):
    with pytest.raises(ValueError, match=f"'a' takes {rows} rows"):
        picture(name="a", rows=rows)


def test_an_image_has_a_step():
    with pytest.raises(ValueError, match="'a' has 0 steps"):
        picture(name="a", steps=0)


def test_images_compare_without_their_payloads():
    class Incomparable:
        def __eq__(self, other):
            raise TypeError("like a tensor")

        __hash__ = None

    a, b = (Image("a", "job", SMALL, 1, 1, Incomparable()) for _ in range(2))
    assert a == b
    assert hash(a) == hash(b)


def test_rows_are_counted_without_padding():
    assert Batch(SMALL, (picture(rows=2), picture(rows=1)), (None, None), 4).rows == 3


def test_whoever_expects_a_closed_engine_expects_a_dead_one():
    assert issubclass(EngineDead, EngineClosed)
