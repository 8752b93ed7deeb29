"""Arrivals, limits and tables of the comparison over HTTP; no server is started."""

from __future__ import annotations

import numpy as np
import pytest

from ops.bench.client import Outcome, Request
from ops.bench.equality import Unequal
from ops.bench.goodput import Score
from ops.bench.serving import COLUMNS, FEWEST, Crowd, Load, by_length, check, table

PICTURE = np.zeros((2, 2, 3), np.uint8)


@pytest.fixture
def crowd() -> Crowd:
    """Two images of 0.5 s each by themselves; the engine makes four a second."""
    return Crowd(
        asked={"a": {"steps": 4}, "b": {"steps": 8}},
        pictures={"a": PICTURE, "b": PICTURE},
        alone={"a": 0.25, "b": 0.75},
        limits={"a": 3.0, "b": 6.0},
        capacity=4.0,
    )


def test_loads_are_told_in_what_one_at_a_time_and_the_engine_can_make(crowd: Crowd) -> None:
    assert [(load.times, load.rate, load.late) for load in crowd.loads] == [
        (0.6, 1.2, True),
        (0.9, 1.8, True),
        (1.3, 5.2, False),
        (2.0, 8.0, False),
    ]


def test_all_servers_get_the_same_arrivals_at_the_pace_asked_for(crowd: Crowd) -> None:
    load = crowd.loads[3]
    requests = crowd.arriving(load, 500.0)
    assert requests == crowd.arriving(load, 500.0)
    assert len(requests) == pytest.approx(4000, rel=0.05)
    assert [one.at for one in requests] == sorted(one.at for one in requests)
    assert requests[-1].at < 500.0


def test_few_arrivals_are_waited_for_beyond_the_lead_in(crowd: Crowd) -> None:
    requests = crowd.arriving(crowd.loads[0], 1.0, lead_in=20.0)
    assert sum(one.at >= 20.0 for one in requests) == FEWEST
    assert sum(one.at < 20.0 for one in requests) > FEWEST


def test_above_capacity_clients_wait_as_long_as_the_picture_is_worth_something(crowd: Crowd) -> None:
    for request in crowd.arriving(crowd.loads[2], 20.0):
        assert (request.patience, request.late) == (crowd.limits[request.name], False)
    assert all(request.late and request.patience > 6.0 for request in crowd.arriving(crowd.loads[0], 20.0))


def answered(name: str, status: int = 200) -> Outcome:
    """With a body that is no picture."""
    return Outcome(Request(name, {}), status, 1.0, b"no")


def test_before_the_clock_starts_each_must_have_its_picture(crowd: Crowd) -> None:
    with pytest.raises(Unequal, match="429 no"):
        check([answered("a", 429)], crowd)


def test_under_load_what_came_is_compared(crowd: Crowd) -> None:
    check([answered("a", 429)], crowd, every=False)


def test_in_time_is_told_by_length_and_of_the_work(crowd: Crowd) -> None:
    late = Outcome(Request("a", {}), 200, 3.5)
    outcomes = [answered("a"), answered("a"), late, answered("a", 429), answered("b"), answered("b", 504)]
    assert by_length(outcomes, crowd) == [2 / 4, 1 / 2, (2 * 4 + 8) / (4 * 4 + 2 * 8)]


def test_rows_are_by_load_then_by_server() -> None:
    calm, busy = Load("calm", 0.6, 1.5, True), Load("busy", 2.0, 8.0, False)
    one = Score(10, 4, 5, 1, 2, 1, 1, 0.5, 2.5)
    none = Score(10, 0, 0, 0, 0, 10, 0, None, None)
    found = table([("platform", calm, one), ("platform", busy, one), ("peer", calm, one), ("peer", busy, none)])
    assert [row[:2] for row in found.rows] == [
        ["platform", "calm"],
        ["peer", "calm"],
        ["platform", "busy"],
        ["peer", "busy"],
    ]
    assert dict(zip(COLUMNS, found.rows[0], strict=True)) == {
        "server": "platform",
        "load": "calm",
        "images a second": 1.5,
        "arrivals": 10,
        "in time": 0.4,
        "p50 s": 0.5,
        "p99 s": 2.5,
        "refused": 1,
        "given up": 2,
        "hung up": 1,
        "failed": 1,
    }
    assert found.rows[3][5:7] == ["", ""]
