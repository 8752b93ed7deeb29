"""Two clusters over one store, on both databases."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from serve.jobs import clusters
from serve.jobs.database import durable
from serve.jobs.schema import locks

OLD = "session_2026-11-22_09-30-00_000001_17"
NEW = "session_2026-11-22_10-05-00_000000_9"
NOON = 1_795_348_800.0  # of that day, UTC


def test_a_cluster_alone_is_not_followed(store):
    store.clusters.show(OLD, 10)
    assert not store.clusters.followed(OLD)


@pytest.mark.parametrize(("first", "second"), [(OLD, NEW), (NEW, OLD)])
def test_a_later_cluster_follows_an_earlier_one_whatever_time_their_heads_had(store, clock, first, second):
    store.clusters.show(first, 10)
    clock.advance(1)
    store.clusters.show(second, 10)
    assert (store.clusters.followed(first), store.clusters.followed(second)) == (True, False)


def test_a_cluster_joins_behind_the_others_though_the_clock_was_set_back(store, clock):
    store.clusters.show(OLD, 7200)
    clock.advance(-3600)
    store.clusters.show(NEW, 7200)
    assert (store.clusters.followed(OLD), store.clusters.followed(NEW)) == (True, False)


def test_a_cluster_keeps_its_place_when_its_dispatcher_joins_again(store, clock):
    store.clusters.join(OLD)
    store.clusters.show(NEW, 10)
    clock.advance(1)
    store.clusters.join(OLD)
    store.clusters.show(OLD, 10)
    assert (store.clusters.followed(OLD), store.clusters.followed(NEW)) == (True, False)


def test_a_cluster_keeps_its_place_while_it_has_no_samplers(store, clock):
    store.clusters.show(OLD, 10)
    store.clusters.show(OLD, 0)
    clock.advance(1_000_000)
    store.clusters.show(NEW, 10)
    store.clusters.show(OLD, 10)
    assert (store.clusters.followed(OLD), store.clusters.followed(NEW)) == (True, False)


def test_a_cluster_that_joined_first_is_followed_by_the_one_that_has_samplers_first(store):
    store.clusters.join(OLD)
    store.clusters.join(NEW)
    store.clusters.show(NEW, 10)
    assert store.clusters.followed(OLD)


def test_a_cluster_that_joined_last_is_not_followed_before_it_has_samplers(store):
    store.clusters.show(OLD, 10)
    store.clusters.join(NEW)
    assert not store.clusters.followed(NEW)


def test_a_cluster_that_shows_itself_no_more_follows_nobody(store, clock):
    store.clusters.join(OLD)
    store.clusters.show(NEW, 10)
    clock.advance(9)
    assert store.clusters.followed(OLD)
    clock.advance(1)
    assert not store.clusters.followed(OLD)


def test_showing_again_is_believed_longer(store, clock):
    store.clusters.join(OLD)
    store.clusters.show(NEW, 10)
    clock.advance(9)
    store.clusters.show(NEW, 10)
    clock.advance(9)
    assert store.clusters.followed(OLD)


def test_a_cluster_can_take_it_back(store):
    store.clusters.join(OLD)
    store.clusters.show(NEW, 10)
    store.clusters.show(NEW, 0)
    assert not store.clusters.followed(OLD)


@pytest.mark.parametrize("other", ["ready", "reconciler", "z"])
def test_locks_are_no_clusters(store, other):
    store.take_lock(other, "zzz", 10)
    assert not store.clusters.followed(OLD)


def test_clusters_that_went_leave_their_places_behind(store, engine, clock):
    store.clusters.show(OLD, 10)
    store.take_lock("ready", "someone", 5)
    clock.advance(20)
    store.clusters.show(NEW, 10)
    assert names(engine) == {f"cluster/{NEW}", f"place/{OLD}", f"place/{NEW}", "ready"}


def test_places_are_those_of_the_latest_clusters(store, engine, clock, monkeypatch):
    monkeypatch.setattr(clusters, "KEPT", 2)
    for session in ("z", "a", "b"):
        clock.advance(1)
        store.clusters.join(session)
    assert names(engine) == {"place/a", "place/b"}


def test_0_1_takes_a_cluster_for_later_whose_heads_clock_is_behind(store, engine, clock):
    """It compares what is shown with the name of its own session."""
    clock.now = NOON
    store.clusters.show("session_2026-11-22_04-00-00_000000_9", 10)
    with engine.connect() as connection:
        (owner,) = connection.scalars(sa.select(locks.c.owner).where(locks.c.name.startswith("cluster/")))
    assert owner == "session_2026-11-22_12-00-00_000000"
    assert owner > NEW


@pytest.mark.parametrize("now", [NOON, 1_000.0])
def test_a_cluster_joins_behind_one_of_0_1_that_is_shown(store, engine, clock, now):
    clock.now = now
    with durable(engine).begin() as connection:
        connection.execute(sa.insert(locks).values(name=f"cluster/{NEW}", owner=NEW, until=now + 10))
    store.clusters.show(OLD, 10)
    assert (store.clusters.followed(NEW), store.clusters.followed(OLD)) == (True, False)


def names(engine):
    """Of the rows that are there."""
    with engine.connect() as connection:
        return set(connection.scalars(sa.select(locks.c.name)))
