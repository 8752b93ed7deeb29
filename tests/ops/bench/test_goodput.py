from __future__ import annotations

import pytest

from ops.bench.client import BROKEN, HUNG_UP, Outcome, Request
from ops.bench.goodput import score

LIMITS = {"short": 1.0, "long": 4.0}


def outcome(status: int, seconds: float, name: str = "long") -> Outcome:
    return Outcome(Request(name, {}), status, seconds)


def test_in_time_is_by_the_images_own_limit_and_over_all_that_were_due() -> None:
    found = score([outcome(200, 2.0), outcome(200, 2.0, "short"), outcome(200, 4.5), outcome(429, 0.01)], LIMITS)
    assert (found.in_time, found.answered, found.offered) == (1, 3, 4)
    assert found.goodput == 0.25


@pytest.mark.parametrize(
    ("status", "counted"),
    [
        (429, "refused"),
        (422, "refused"),
        (504, "given_up"),
        (HUNG_UP, "hung_up"),
        (500, "failed"),
        (503, "failed"),
        (BROKEN, "failed"),
    ],
)
def test_each_other_end_is_counted_once(status: int, counted: str) -> None:
    found = score([outcome(200, 1.0), outcome(status, 0.1)], LIMITS)
    ends = {name: getattr(found, name) for name in ("refused", "given_up", "hung_up", "failed")}
    assert ends == {name: int(name == counted) for name in ends}


def test_waits_are_those_of_the_answered() -> None:
    found = score([outcome(200, float(i)) for i in range(1, 101)] + [outcome(429, 1000.0)], LIMITS)
    assert (found.p50, found.p99) == (50.0, 99.0)


def test_without_an_answer_there_is_no_wait() -> None:
    found = score([outcome(HUNG_UP, 4.0)], LIMITS)
    assert (found.goodput, found.p50, found.p99) == (0.0, None, None)
