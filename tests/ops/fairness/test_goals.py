"""The goals on a virtual clock, and that the store's SQL is the policy."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import sqlalchemy as sa

from ops.fairness.goals import ALIKE, MIX, goodput, light_tail, poisson, serve, share_error
from ops.fairness.lines import Line, Offer, PlainLine, StoreLine
from ops.fairness.simulation import CAPACITY, PACE, Clock, full_bucket_s
from serve.jobs.database import durable, open_database
from serve.jobs.schema import metadata


def plain(clock: Clock, weights: Mapping[str, float]) -> Line:
    return PlainLine(clock, PACE, weights)


def first_come(clock: Clock, weights: Mapping[str, float]) -> Line:
    """One team for all: what order there is without fairness."""
    return _FirstCome(PlainLine(clock, PACE, weights))


class _FirstCome:
    def __init__(self, line: PlainLine) -> None:
        self._line = line
        self.claim, self.finish = line.claim, line.finish

    def predicted_s(self, offer: Offer) -> float | None:
        return None

    def submit(self, number: int, offer: Offer) -> None:
        self._line.submit(number, Offer(offer.at, "all", offer.cost))


@pytest.mark.parametrize("seed", [7, 8, 9])
def test_a_light_team_does_not_suffer_from_an_aggressor(seed: int) -> None:
    assert light_tail(plain, 300, MIX, seed).met


def test_without_fairness_it_would() -> None:
    value = light_tail(first_come, 60).value
    assert value is not None
    assert value > 10


def test_weights_of_2_to_1_are_served_2_to_1() -> None:
    assert share_error(plain, 400).met


@pytest.mark.parametrize("steps", [MIX, ALIKE], ids=["mixed", "alike"])
@pytest.mark.parametrize(("load", "target"), [(1.3, 0.62), (2.0, 0.35)])
def test_jobs_that_are_accepted_are_done_in_time(load: float, target: float, steps: tuple[int, ...]) -> None:
    assert goodput(plain, load, target, 1600, steps).met


def test_without_admission_they_would_not_be() -> None:
    figure = goodput(first_come, 1.3, 0.62, 800)
    assert figure.met is False


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    server = request.param == "postgresql"
    url = request.getfixturevalue("postgres").url() if server else f"sqlite:///{tmp_path / 'jobs.db'}"
    engine = open_database(url)
    yield engine
    with durable(engine).begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(sa.delete(table))
    engine.dispose()


def test_the_store_serves_as_the_policy_does(engine: sa.Engine) -> None:
    """Teams of other weights, both priorities, other sizes, deadlines that are met, refused and missed."""
    luck = random.Random(5)
    offers = [
        offer
        for team, load in (("a", 0.3), ("b", 0.6), ("c", 0.9))
        for offer in poisson(load * CAPACITY * 20 / 27.5, int(70 * load), team, luck, MIX, 2.0)
    ]
    offers = [
        Offer(offer.at, offer.tenant, offer.cost, luck.choice([None, offer.deadline_s]), luck.choice(KINDS))
        for offer in offers
    ]
    weights = {"a": 1.0, "b": 2.0}
    policy = serve(plain, offers, weights)
    store = serve(lambda clock, declared: StoreLine(engine, clock, PACE, declared), offers, weights)
    assert {one.accepted for one in policy.served} == {True, False}
    assert any(one.accepted and one.started is None for one in policy.served)
    assert store.order == policy.order
    assert store.served == policy.served


def test_batch_jobs_come_between_interactive_ones_as_the_policy_has_it(engine: sa.Engine) -> None:
    """A team that sends more than can be done, a quarter of it batch; predictions count what comes between."""
    luck = random.Random(6)
    offers = [
        Offer(
            offer.at, offer.tenant, offer.cost, luck.choice([None, 20 * full_bucket_s(offer.cost)]), luck.choice(MOSTLY)
        )
        for offer in poisson(3 * CAPACITY * 20 / 27.5, 120, "a", luck, MIX)
    ]
    policy = serve(plain, offers)
    store = serve(lambda clock, declared: StoreLine(engine, clock, PACE, declared), offers)
    batch, interactive = (
        [one for one in policy.served if one.started is not None and one.offer.priority == kind]
        for kind in ("batch", "interactive")
    )
    went_before = [one for one in batch if any(other.offer.at < one.started < other.started for other in interactive)]
    assert len(went_before) >= 5
    assert store.order == policy.order
    assert store.served == policy.served


KINDS = ("interactive", "batch")
MOSTLY = ("interactive", "interactive", "interactive", "batch")
