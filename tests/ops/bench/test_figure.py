from __future__ import annotations

import pytest

from ops.bench.figure import Figure, paired, percentile


@pytest.mark.parametrize(
    ("value", "target", "at_most", "met"),
    [(2.0, 1.0, False, True), (2.0, 1.0, True, False), (1.0, 1.0, True, True), (1.0, None, False, None)],
)
def test_targets(value: float, target: float | None, at_most: bool, met: bool | None) -> None:
    assert Figure("", "", value, target, at_most).met is met


def test_what_was_refused_meets_no_target() -> None:
    assert Figure("", "", None, 1.0, refused="wrong pictures").met is False


def test_a_machine_that_slows_down_for_a_pair_changes_nothing() -> None:
    assert paired([4.0, 40.0, 8.0], [2.0, 20.0, 4.0]) == 2.0


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.5, 50), (0.99, 99), (1.0, 100)])
def test_percentiles_are_values(share: float, value: int) -> None:
    assert percentile(range(1, 101), share) == value


def test_percentile_of_few() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.99) == 3.0
