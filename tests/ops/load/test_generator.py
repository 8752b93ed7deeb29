"""The generator as it is run: locust in a process of its own, against a platform that does as it is told."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from ops.load.driver import drive
from ops.load.plan import Plan
from ops.load.teams import write_keys
from ops.load.trace import Shape
from tests.ops.load.conftest import FakeApi, request

Make = Callable[..., Plan]


def test_nobody_waits_for_anybodys_answer(api: FakeApi, plan: Make, tmp_path: Path) -> None:
    api.meanwhile = threading.Barrier(5, timeout=60).wait  # none is answered before all are there
    run = drive(plan(*(request(i, 0.1 * i) for i in range(5)), drain_s=90.0), tmp_path / "run")
    assert [one.end for one in run.outcomes] == ["done"] * 5


def test_a_closed_backlog_has_so_many_under_way(api: FakeApi, plan: Make, tmp_path: Path) -> None:
    api.takes_s = 0.2
    run = drive(plan(*(request(i) for i in range(4)), window=1), tmp_path / "run")
    spans = sorted((one.sent, one.ended) for one in run.outcomes)
    assert len(spans) == 4
    assert all(before[1] <= after[0] for before, after in pairwise(spans))


def test_every_request_has_a_key_of_its_own_and_its_teams_authorization(
    api: FakeApi, plan: Make, tmp_path: Path
) -> None:
    drive(plan(request(0), request(1, deadline_s=4.5)), tmp_path / "run")
    calls = api.calls("POST", "/v1/images")
    assert len({headers["idempotency-key"] for _, headers, _ in calls}) == 2
    assert {headers["authorization"] for _, headers, _ in calls} == {"Bearer cn_a_b"}
    assert sorted(body.get("deadline_s", 0) for _, _, body in calls) == [0, 4.5]


def test_refusals_and_errors_are_told_apart(api: FakeApi, plan: Make, tmp_path: Path) -> None:
    api.answers["POST", "/v1/images"] = [
        (429, "quota-exceeded"),
        (500, "internal"),
        (504, "deadline-missed"),
    ]
    run = drive(plan(*(request(i) for i in range(4)), window=1), tmp_path / "run")
    ends = [(one.end, one.reason, len(one.faults)) for one in sorted(run.outcomes, key=lambda one: one.number)]
    assert ends == [
        ("refused", "429 quota-exceeded", 0),
        ("failed", "500 internal", 1),
        ("dropped", "504 deadline-missed", 0),
        ("done", "", 0),
    ]


def test_patience_tries_again_under_the_same_key(api: FakeApi, plan: Make, tmp_path: Path) -> None:
    api.answers["POST", "/v1/jobs"] = [(503, "overloaded")]
    run = drive(plan(request(caller="poll"), patience_s=20.0), tmp_path / "run")
    (one,) = run.outcomes
    assert one.end == "done"
    assert [fault.what for fault in one.faults] == ["503 overloaded"]
    keys = [headers["idempotency-key"] for _, headers, _ in api.calls("POST", "/v1/jobs")]
    assert len(keys) == 2
    assert len(set(keys)) == 1


def test_a_platform_that_is_not_there_is_an_error_of_every_request(plan: Make, tmp_path: Path) -> None:
    run = drive(replace(plan(request(0), request(1)), url="http://127.0.0.1:9"), tmp_path / "run")
    assert [one.end for one in run.outcomes] == ["failed", "failed"]
    assert all(fault.call == "POST /v1/images" and not fault.what[0].isdigit() for fault in run.faults)
    assert len(run.faults) == 2


@pytest.mark.parametrize("cut", [False, True])
def test_a_follower_resumes_after_the_last_event_it_had(cut: bool, api: FakeApi, plan: Make, tmp_path: Path) -> None:
    """Whether it hung up itself or was cut off: nothing comes twice."""
    api.cut = cut
    run = drive(plan(request(caller="follow", hangs_up=not cut)), tmp_path / "run")
    (one,) = run.outcomes
    assert (one.end, one.resumed, one.disorder) == ("done", 1, 0)
    streams = api.calls("GET", f"/v1/jobs/{one.job}/events")
    assert [headers.get("last-event-id") for _, headers, _ in streams] == [None, "2" if cut else "1"]


def test_a_map_is_made_once_and_used_again(api: FakeApi, plan: Make, tmp_path: Path) -> None:
    shape = Shape("map", 1, 10, 64)
    run = drive(plan(*(request(i, caller="poll", shape=shape) for i in range(3)), window=1), tmp_path / "run")
    assert [one.made_map for one in run.outcomes] == [True, False, False]
    assert len(api.calls("POST", "/v1/controls/canny")) == 1
    controls = [body["controls"] for _, _, body in api.calls("POST", "/v1/jobs")]
    assert controls == [[{"type": "canny", "map": "map_1"}]] * 3


def test_a_caller_who_changes_their_mind_cancels(api: FakeApi, plan: Make, tmp_path: Path) -> None:
    api.takes_s = 60.0  # never done
    run = drive(plan(request(caller="poll", cancel_after_s=0.1)), tmp_path / "run")
    (one,) = run.outcomes
    assert one.end == "cancelled"
    assert len(api.calls("DELETE", f"/v1/jobs/{one.job}")) == 1


def test_what_nobody_waits_for_is_cancelled_and_told(api: FakeApi, plan: Make, tmp_path: Path) -> None:
    api.takes_s = 60.0
    run = drive(plan(request(caller="poll"), drain_s=5.0), tmp_path / "run")
    (one,) = run.outcomes
    assert one.end == "unfinished"
    assert api.states[str(one.job)] == "cancelled"


def test_a_caller_that_is_broken_is_a_failed_request(plan: Make, tmp_path: Path) -> None:
    run = drive(plan(request(tenant="nobody"), request(1)), tmp_path / "run")
    assert [(one.end, one.reason) for one in run.outcomes] == [("failed", "KeyError('nobody')"), ("done", "")]


def test_keys_are_read_again_when_they_are_replaced(api: FakeApi, plan: Make, tmp_path: Path) -> None:
    made = plan(request(0), request(1), window=1)
    api.meanwhile = lambda: write_keys(made.keys, {"press": "cn_a_new"})
    drive(made, tmp_path / "run")
    used = [headers["authorization"] for _, headers, _ in api.calls("POST", "/v1/images")]
    assert used == ["Bearer cn_a_b", "Bearer cn_a_new"]


def test_a_generator_that_fails_says_why(plan: Make, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"the load generator failed \(1\):\n(?s:.*)caller"):
        drive(plan(request(caller="nobody")), tmp_path / "run")
