from __future__ import annotations

import pytest

from ops.load.figures import SLO, Figures, entitlements, figures
from ops.load.plan import Fault, Outcome
from ops.load.trace import Request, Shape, Team
from ops.load.work import gflop
from tests.ops.load.conftest import SHAPE, outcome, request

PRESS, STUDIO = Team("press", 1.0, 0.7), Team("studio", 2.0, 0.3)
SOLO = {SHAPE: 1.0, Shape("map", 1, 10, 64): 0.5, Shape("canny", 1, 10, 64): 1.0}


def count(requests: list[Request], outcomes: list[Outcome], seconds: float = 10.0) -> Figures:
    return figures("1x", 1.0, seconds, requests, outcomes, [PRESS, STUDIO], SOLO, gflop(SHAPE))


def test_waits_are_counted_from_the_scheduled_arrival_and_not_from_the_sending() -> None:
    found = count([request(0, at=2.0)], [outcome(0, sent=4.0, ended=4.5)])
    assert found.waits.p50 == pytest.approx(2.5)
    assert found.late.p99 == pytest.approx(2.0)
    assert found.late_most == pytest.approx(2.0)


@pytest.mark.parametrize(("ended", "met"), [(SLO, 1), (SLO + 0.01, 0)])
def test_in_time_is_a_multiple_of_what_the_shape_takes_alone(ended: float, met: int) -> None:
    found = count([request(0)], [outcome(0, ended=ended)])
    assert (found.met, found.done) == (met, 1)


def test_who_had_to_make_the_map_has_the_time_of_a_photograph() -> None:
    steered = [request(i, shape=Shape("map", 1, 10, 64)) for i in range(2)]
    found = count(steered, [outcome(0, ended=2.0), outcome(1, ended=2.0, made_map=True)])
    assert found.met == 1


def test_goodput_counts_what_was_refused_failed_or_never_told_against_the_platform() -> None:
    outcomes = [
        outcome(0),
        outcome(1, end="refused", reason="429 quota-exceeded"),
        outcome(2, end="dropped", reason="504 deadline-missed"),
        outcome(3, end="failed", reason="500 internal", faults=(Fault(1.0, "POST /v1/jobs", "500 internal"),)),
        outcome(4, end="unfinished"),
    ]
    found = count([request(i) for i in range(6)], outcomes)
    assert found.goodput == pytest.approx(1 / 6)
    assert found.refusals == {
        "429 quota-exceeded, before it was a job": 1,
        "deadline-missed, after it was accepted": 1,
    }
    assert found.failures == {"500 internal": 1}
    assert found.errors == {"POST /v1/jobs: 500 internal": 1}
    assert (found.unfinished, found.missing) == (1, 1)


@pytest.mark.parametrize(
    ("outcomes", "sound"),
    [
        ([outcome()], True),
        ([outcome(end="refused", reason="429 quota-exceeded")], True),
        ([outcome(faults=(Fault(1.0, "POST /v1/jobs", "500 internal"),))], False),
        ([outcome(end="failed", reason="500 internal")], False),
        ([outcome(end="unfinished")], False),
        ([], False),
    ],
)
def test_a_load_is_sound_where_everybody_was_answered(outcomes: list[Outcome], sound: bool) -> None:
    assert count([request()], outcomes).sound is sound


def test_whoever_meant_to_cancel_is_in_no_share() -> None:
    requests = [
        request(0),
        request(1, caller="poll", cancel_after_s=1.0),
        request(2, caller="poll", cancel_after_s=9.0),
    ]
    found = count(requests, [outcome(0), outcome(1, end="cancelled"), outcome(2)])
    assert (found.offered, found.met, found.cancelled) == (1, 1, 1)


def test_callers_are_counted_by_kind() -> None:
    found = count([request(0), request(1, caller="follow")], [outcome(0, ended=1.0), outcome(1, ended=2.0, resumed=1)])
    assert {name: waits.p99 for name, waits in found.callers.items()} == {"sync": 1.0, "follow": 2.0}
    assert found.resumed == 1


def test_a_team_is_served_what_was_done_while_requests_came() -> None:
    requests = [request(i, tenant=team) for i, team in enumerate(["press", "press", "studio"])]
    found = count(requests, [outcome(0), outcome(1, ended=11.0), outcome(2)], seconds=10.0)
    press, studio = found.teams
    assert press.offered == pytest.approx(2 * gflop(SHAPE))
    assert press.served == pytest.approx(gflop(SHAPE))
    assert studio.served == studio.entitled == pytest.approx(gflop(SHAPE))
    assert found.lightest is studio


def test_the_load_that_came_is_its_work_over_capacity() -> None:
    found = count([request(i) for i in range(5)], [], seconds=10.0)
    assert found.offered_load == pytest.approx(0.5)


def test_each_second_shows_what_became_of_its_requests() -> None:
    requests = [request(0, at=0.2), request(1, at=0.4), request(2, at=2.9)]
    found = count(requests, [outcome(0), outcome(1, ended=9.0), outcome(2, end="refused", reason="429")], seconds=3.0)
    assert found.timeline == [(1, 1, 0), (0, 0, 0), (0, 0, 1)]


@pytest.mark.parametrize(
    ("demands", "weights", "served", "expected"),
    [
        ([10, 10], [1, 1], 10, [5, 5]),
        ([10, 10], [1, 3], 8, [2, 6]),
        ([1, 10], [1, 1], 6, [1, 5]),  # what one does not ask for goes to the other
        ([1, 10, 10], [1, 2, 1], 10, [1, 6, 3]),
        ([4, 4], [1, 1], 20, [4, 4]),
        ([0, 4], [1, 1], 2, [0, 2]),
        ([0, 0], [1, 1], 0, [0, 0]),
    ],
)
def test_entitlements_are_by_weight_and_none_above_its_demand(
    demands: list[float], weights: list[float], served: float, expected: list[float]
) -> None:
    assert entitlements(demands, weights, served) == pytest.approx(expected)
