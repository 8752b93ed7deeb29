from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace
from itertools import repeat

import pytest

from ops.load.trace import ASSUMED, MIX, Mix, Request, synthesize, teams, zipf

MANY = 20_000


@pytest.fixture(scope="module")
def trace() -> list[Request]:
    return list(synthesize(MIX, repeat(0.0, MANY), seed=3))


def test_the_same_seed_is_the_same_trace(trace: list[Request]) -> None:
    assert trace == list(synthesize(MIX, repeat(0.0, MANY), seed=3))
    assert trace != list(synthesize(MIX, repeat(0.0, MANY), seed=4))


def test_a_longer_trace_begins_as_the_shorter_one(trace: list[Request]) -> None:
    assert trace[:100] == list(synthesize(MIX, repeat(0.0, 100), seed=3))


def test_arrivals_are_those_that_were_given() -> None:
    assert [one.at for one in synthesize(MIX, [0.5, 0.7, 9.0], seed=3)] == [0.5, 0.7, 9.0]


@pytest.mark.parametrize(
    ("shares", "value"),
    [
        (MIX.callers, lambda one: one.caller),
        (MIX.steering, lambda one: one.shape.steering),
        (MIX.n, lambda one: one.shape.n),
        (MIX.steps, lambda one: one.shape.steps),
        (MIX.sides, lambda one: one.shape.side),
        ({team.name: team.share for team in MIX.teams}, lambda one: one.tenant),
        (dict(enumerate(zipf(MIX.pictures, MIX.picture_exponent))), lambda one: one.picture),
    ],
)
def test_marginals_are_those_of_the_mix(shares, value, trace: list[Request]) -> None:
    counts = Counter(map(value, trace))
    assert counts.keys() == shares.keys()
    for name, share in shares.items():
        assert counts[name] / MANY == pytest.approx(share, abs=0.015)


def test_shapes_are_all_there_is_with_their_shares(trace: list[Request]) -> None:
    shares = dict(MIX.shapes())
    assert sum(shares.values()) == pytest.approx(1.0)
    assert {one.shape for one in trace} == shares.keys()


def test_only_who_does_not_wait_can_cancel_and_only_a_follower_loses_its_stream(trace: list[Request]) -> None:
    cancelling = [one for one in trace if one.cancel_after_s is not None]
    asynchronous = sum(one.caller != "sync" for one in trace)
    assert len(cancelling) / asynchronous == pytest.approx(MIX.cancelled, abs=0.01)
    assert {one.caller for one in cancelling} == {"poll", "follow"}
    assert max(one.cancel_after_s or 0 for one in cancelling) <= MIX.cancel_within_s
    assert {one.caller for one in trace if one.hangs_up} == {"follow"}


def test_what_one_marginal_is_changes_no_other(trace: list[Request]) -> None:
    changed = synthesize(replace(MIX, cancelled=0.9), repeat(0.0, 100), seed=3)
    assert [replace(one, cancel_after_s=None) for one in changed] == [
        replace(one, cancel_after_s=None) for one in trace[:100]
    ]


def test_zipf_shares_fall_and_add_up_to_one() -> None:
    shares = zipf(5, 1.0)
    assert shares[0] / shares[4] == pytest.approx(5)
    assert sum(shares) == pytest.approx(1)
    assert sorted(shares, reverse=True) == list(shares)


def test_there_can_be_more_teams_than_names() -> None:
    many = teams(12)
    assert len({team.name for team in many}) == 12
    assert sum(team.share for team in many) == pytest.approx(1)


def test_the_table_of_what_is_assumed_names_every_marginal() -> None:
    told = {"teams", "callers", "steering", "n", "steps", "sides", "pictures", "cancelled", "hangs_up"}
    exponents = {"picture_exponent", "cancel_within_s"}
    assert {one.name for one in fields(Mix)} == told | exponents
    names = {"kinds of caller", "images a job", "size", "cancels", "teams", "steering", "steps", "pictures"}
    assert names | {"arrivals", "deadlines"} == ASSUMED.keys()
