"""Two clusters over one store, on both databases."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from serve.jobs.schema import locks

OLD = "session_2026-11-22_09-30-00_000001_17"
NEW = "session_2026-11-22_10-05-00_000000_9"


def test_a_cluster_alone_is_not_followed(store):
    store.clusters.show(OLD, 10)
    assert not store.clusters.followed(OLD)


def test_a_later_cluster_follows_an_earlier_one_and_not_the_other_way_round(store):
    store.clusters.show(OLD, 10)
    store.clusters.show(NEW, 10)
    assert (store.clusters.followed(OLD), store.clusters.followed(NEW)) == (True, False)


def test_a_cluster_that_shows_itself_no_more_follows_nobody(store, clock):
    store.clusters.show(NEW, 10)
    clock.advance(9)
    assert store.clusters.followed(OLD)
    clock.advance(1)
    assert not store.clusters.followed(OLD)


def test_showing_again_is_believed_longer(store, clock):
    store.clusters.show(NEW, 10)
    clock.advance(9)
    store.clusters.show(NEW, 10)
    clock.advance(9)
    assert store.clusters.followed(OLD)


def test_a_cluster_can_take_it_back(store):
    store.clusters.show(NEW, 10)
    store.clusters.show(NEW, 0)
    assert not store.clusters.followed(OLD)


@pytest.mark.parametrize("other", ["ready", "reconciler", "z"])
def test_locks_are_no_clusters(store, other):
    store.take_lock(other, "zzz", 10)
    assert not store.clusters.followed(OLD)


def test_clusters_that_went_leave_nothing_behind(store, engine, clock):
    store.clusters.show(OLD, 10)
    store.take_lock("ready", "someone", 5)
    clock.advance(20)
    store.clusters.show(NEW, 10)
    with engine.connect() as connection:
        assert set(connection.scalars(sa.select(locks.c.owner))) == {NEW, "someone"}
