from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.capacity.policy import Load, Policy, Scaler, read_policy

QUIET = Load(0.0, 0.0, 0.0, 100.0)


def test_work_that_comes_takes_its_share_of_a_rate() -> None:
    assert Scaler(Policy(most=100, target=0.5)).decide(0, Load(1000, 0, 0, 100)) == 20


def test_work_that_waits_should_be_gone_in_time() -> None:
    assert Scaler(Policy(most=100, drain_s=60)).decide(0, Load(0, 12_000, 0, 100)) == 2


def test_jobs_are_counted_where_that_is_the_rule() -> None:
    assert Scaler(Policy(most=100, rule="jobs", target=4)).decide(0, Load(1e9, 1e9, 17, 100)) == 5


def test_one_that_waits_wakes_up_a_fleet_of_none() -> None:
    scaler = Scaler(Policy(fewest=0, most=3))
    assert scaler.decide(0, QUIET) == 0
    assert scaler.decide(10, Load(0, 0.001, 1, 100)) == 1


def test_more_come_at_once_and_fewer_after_a_while() -> None:
    scaler = Scaler(Policy(most=100, target=1.0, down_after_s=60))
    assert scaler.decide(0, Load(1000, 0, 0, 100)) == 10
    assert scaler.decide(10, Load(500, 0, 0, 100)) == 10
    assert scaler.decide(60, Load(300, 0, 0, 100)) == 10
    assert scaler.decide(65, Load(300, 0, 0, 100)) == 5
    assert scaler.decide(130, Load(300, 0, 0, 100)) == 3


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e9), st.floats(0, 1e5)), min_size=1, max_size=30))
def test_never_fewer_than_the_fewest_nor_more_than_the_most(loads: list[tuple[float, float, float]]) -> None:
    scaler = Scaler(Policy(fewest=2, most=50))
    for at, (arriving, waiting, jobs) in enumerate(loads):
        assert 2 <= scaler.decide(10.0 * at, Load(arriving, waiting, jobs, 100.0)) <= 50


def test_the_fewest_are_never_spot_machines() -> None:
    policy = Policy(fewest=4, most=20, spot_share=0.9)
    assert policy.spot(4) == 0
    assert policy.spot(5) == 1
    assert policy.spot(20) == 16
    assert Policy(fewest=0, most=20, spot_share=0.5).spot(20) == 10


@pytest.mark.parametrize(
    ("field", "value"), [("fewest", 9), ("spot_share", 1.5), ("target", 0.0), ("drain_s", -1.0), ("most", 0)]
)
def test_what_makes_no_sense_is_refused(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        Policy(**{"fewest": 1, "most": 5, field: value})


def test_a_file_may_leave_out_what_stays_and_not_add_what_is_not(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("most: 7\nslo_s: 3\n")
    assert read_policy(path) == Policy(most=7, slo_s=3.0)
    path.write_text("mots: 7\n")
    with pytest.raises(ValueError, match="mots"):
        read_policy(path)
