from __future__ import annotations

import weakref
from itertools import combinations

import pytest

from serve.engine.bisection import isolate
from serve.engine.core import Failure


class Doubler:
    """Doubles; raises where a bad number is among them."""

    def __init__(self, bad=()):
        self.bad = set(bad)
        self.calls = []

    def __call__(self, numbers):
        self.calls.append(list(numbers))
        for number in numbers:
            if number in self.bad:
                raise ArithmeticError(number)
        return [2 * number for number in numbers]


def test_one_call_where_nothing_raises():
    double = Doubler()
    assert isolate(double, [1, 2, 3]) == [2, 4, 6]
    assert double.calls == [[1, 2, 3]]


def test_no_call_for_nothing():
    double = Doubler()
    assert isolate(double, []) == []
    assert double.calls == []


@pytest.mark.parametrize("bad", [c for n in range(6) for c in combinations(range(5), n)], ids=str)
def test_exactly_the_bad_fail_with_their_own_errors(bad):
    outcomes = isolate(Doubler(bad), range(5))
    assert [o.error.args[0] if isinstance(o, Failure) else o for o in outcomes] == [
        i if i in bad else 2 * i for i in range(5)
    ]


def test_each_good_item_is_called_well_once():
    double = Doubler({3})
    isolate(double, range(8))
    well = [i for call in double.calls if 3 not in call for i in call]
    assert sorted(well) == [0, 1, 2, 4, 5, 6, 7]


def test_one_bad_among_sixteen_costs_eight_calls_more():
    double = Doubler({11})
    isolate(double, range(16))
    assert len(double.calls) == 1 + 8


def test_a_missing_result_is_a_failure():
    [outcome] = isolate(lambda items: [], [1])
    assert isinstance(outcome, Failure)
    assert str(outcome.error) == "0 results for 1 images"


def test_what_is_no_exception_goes_through():
    def leave(items):
        raise SystemExit

    with pytest.raises(SystemExit):
        isolate(leave, [1, 2])


def test_the_failed_batch_is_freed_before_the_halves_are_tried():
    class Memory:
        pass

    held = []

    def exhaust(items):
        assert not any(memory() for memory in held)
        memory = Memory()
        held.append(weakref.ref(memory))
        if len(items) > 1:
            raise MemoryError
        return list(items)

    assert isolate(exhaust, [1, 2, 3, 4]) == [1, 2, 3, 4]
