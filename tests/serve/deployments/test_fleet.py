"""What a dispatcher knows of samplers, look by look."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from ray.exceptions import RayActorError, RayError

from serve.deployments import fleet as module
from serve.deployments.fleet import Fleet
from serve.jobs.pace import Pace
from serve.jobs.store import JobStore
from tests.serve.deployments.conftest import Sampler

PACE = Pace(0.25, 0.5, 8.0, 16)
EARLIER, MINE = "session_2026-11-22_09-00-00_0_1", "session_2026-11-22_10-00-00_0_1"


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Changes:
    """Counts how often the dispatcher was woken."""

    count = 0

    def __call__(self) -> None:
        self.count += 1


async def ask(call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    return call(*arguments, **options)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module.time, "monotonic", clock)
    return clock


@pytest.fixture
def store(engine: sa.Engine, clock: Clock) -> JobStore:
    return JobStore(engine, clock)


@pytest.fixture
def sampler() -> Sampler:
    return Sampler()


@pytest.fixture
def changes() -> Changes:
    return Changes()


@pytest.fixture
def fleet(sampler: Sampler, store: JobStore, changes: Changes) -> Fleet:
    return Fleet(MINE, sampler, store, ask, changes, lambda: False)


async def test_those_that_answer_are_there(fleet: Fleet, sampler: Sampler, changes: Changes) -> None:
    sampler.paces.append([("one", None), RayActorError(), ("two", None)])
    await fleet.look()
    assert (fleet.samplers, changes.count) == (2, 1)


async def test_where_none_is_there_none_is_counted(fleet: Fleet, sampler: Sampler, changes: Changes) -> None:
    await fleet.look()
    sampler.running = []
    await fleet.look()
    assert (fleet.samplers, changes.count) == (0, 2)


async def test_nobody_is_woken_while_nothing_changes(fleet: Fleet, changes: Changes) -> None:
    for _ in range(3):
        await fleet.look()
    assert changes.count == 1


async def test_samplers_are_asked_again_only_when_it_is_time(fleet: Fleet, sampler: Sampler, clock: Clock) -> None:
    """A call to each costs an idle platform more than all its looks at the store."""
    await fleet.look(every=5.0)
    sampler.running = []
    clock.now += 4.9
    await fleet.look(every=5.0)
    assert fleet.samplers == 1
    clock.now += 0.1
    await fleet.look(every=5.0)
    assert fleet.samplers == 0


@pytest.mark.parametrize("silence", [TimeoutError(), RayError("the controller is away")])
async def test_samplers_that_cannot_answer_now_are_there_still(
    fleet: Fleet, sampler: Sampler, silence: Exception
) -> None:
    await fleet.look()
    sampler.paces.append(silence)
    await fleet.look()
    assert fleet.samplers == 1


async def test_a_cluster_shows_itself_while_it_has_samplers(
    fleet: Fleet, sampler: Sampler, store: JobStore, clock: Clock
) -> None:
    store.clusters.join(EARLIER)
    sampler.running = []
    await fleet.look()
    assert not store.clusters.followed(EARLIER)
    sampler.running = [("one", None)]
    for _ in range(30):
        clock.now += 1
        await fleet.look()
        assert store.clusters.followed(EARLIER)
    sampler.running = []
    await fleet.look()
    assert not store.clusters.followed(EARLIER)


async def test_it_is_followed_by_a_later_one_only(fleet: Fleet, store: JobStore) -> None:
    store.clusters.show(EARLIER, 60)
    await fleet.look()
    assert not fleet.followed
    store.clusters.show(MINE + "1", 60)
    await fleet.look()
    assert fleet.followed


async def test_it_joins_before_it_has_samplers(fleet: Fleet, sampler: Sampler, store: JobStore) -> None:
    sampler.running = []
    await fleet.look()
    store.clusters.show(EARLIER, 60)  # which started earlier, and was slow
    await fleet.look()
    assert fleet.followed


async def test_the_pace_is_the_mean_of_those_that_are_there(fleet: Fleet, sampler: Sampler) -> None:
    sampler.paces.append([("one", PACE), ("two", Pace(0.75, 0.5, 8.0, 16)), ("new", None)])
    await fleet.look()
    assert await fleet.pace() == Pace(0.5, 0.5, 8.0, 16)


async def test_where_none_was_heard_the_pace_is_what_was_measured_last(
    fleet: Fleet, store: JobStore, clock: Clock
) -> None:
    assert await fleet.pace() is None
    store.paces.keep({"of an earlier cluster": PACE})
    clock.now += 100_000
    assert await fleet.pace() == PACE


async def test_paces_are_kept_now_and_then(fleet: Fleet, sampler: Sampler, store: JobStore, clock: Clock) -> None:
    for number in range(31):
        sampler.paces.append([("one", Pace(float(number), 0.5, 8.0, 16))])
        await fleet.look()
        clock.now += 0.5
    assert store.paces.current() == [Pace(30.0, 0.5, 8.0, 16)]
    sampler.paces.append([("one", Pace(99.0, 0.5, 8.0, 16))])
    await fleet.look()
    assert store.paces.current() == [Pace(30.0, 0.5, 8.0, 16)]
