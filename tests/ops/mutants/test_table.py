"""What a run of mutants comes to."""

from __future__ import annotations

import pytest

from ops.mutants.__main__ import table, wilson
from ops.mutants.places import Place
from ops.mutants.trials import Verdict


def test_an_interval_is_wilsons():
    assert wilson(30, 50) == pytest.approx((0.4618, 0.7239), abs=1e-4)


def test_a_mutant_that_never_ends_is_caught_and_one_that_nothing_executes_is_not():
    place = Place("serve/errors.py", 1, "number", 0, 0, "", range(1, 2), True)
    outcomes = ("caught", "timeout", "survived", "never executed")
    text = table([place] * 4, [Verdict(outcome, 1, "", 0.0) for outcome in outcomes])
    assert text.splitlines()[-1] == "2 of 4 caught: 50% (95 %: 15% to 85%)"
