"""How far a champion is served, as it is kept and as it is said, on both databases."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import get_args

import pytest
import sqlalchemy as sa

from serve.jobs.database import soft
from serve.jobs.rollouts import FAULTS, PREFIX, Rollout
from serve.jobs.schema import locks
from serve.registry.reconciler import Stage

FAILED = Rollout("demo", "failed", "3", "1", "prepare", "IndexError: index out of range in self")


def test_it_is_believed_for_a_while(store, clock):
    store.rollouts.show(FAILED, 10)
    clock.advance(9)
    assert store.rollouts.of("demo") == FAILED
    clock.advance(1)
    assert store.rollouts.of("demo") is None


def test_what_is_said_last_counts(store):
    store.rollouts.show(FAILED, 10)
    store.rollouts.show(replace(FAILED, state="served", serving="3", fault=None, reason=None), 10)
    assert [one.state for one in store.rollouts.current()] == ["served"]


def test_it_can_be_taken_back(store):
    store.rollouts.show(FAILED, 10)
    store.rollouts.show(FAILED, 0)
    assert store.rollouts.current() == ()


def test_models_are_told_apart(store):
    other = replace(FAILED, model="another")
    store.rollouts.show(FAILED, 10)
    store.rollouts.show(other, 10)
    assert store.rollouts.current() == (other, FAILED)
    assert store.rollouts.of("none") is None


def test_the_overview_has_it(store):
    store.rollouts.show(FAILED, 10)
    assert store.overview().rollouts == (FAILED,)


def test_a_later_version_may_say_more(store, engine, clock):
    text = json.dumps({"model": "demo", "state": "loading", "wanted": "3", "share": 0.1})
    with soft(engine).begin() as connection:
        connection.execute(sa.insert(locks).values(name=PREFIX + "demo", owner=text, until=clock() + 10))
    assert store.rollouts.of("demo") == Rollout("demo", "loading", "3", None)


@pytest.mark.parametrize(
    ("rollout", "sentence"),
    [
        (
            FAILED,
            "demo: wanted version 3, serving version 1, because samplers can't load it: "
            "IndexError: index out of range in self",
        ),
        (Rollout("demo", "loading", "3", "1"), "demo: wanted version 3, serving version 1, because it is being loaded"),
        (Rollout("demo", "loading", "3", "3"), "demo: version 3 is not loaded, because it is being loaded"),
        (Rollout("demo", "served", "3", "3"), "demo: version 3 is served"),
        (
            Rollout("demo", "served", "3", "3", "resolve", "MLflow is away."),
            "demo: version 3 is served, but the registry can't tell the champion: MLflow is away.",
        ),
        (
            Rollout("demo", "failed", "3", "3", "fetch", "No space."),
            "demo: version 3 is not loaded, because its bundle can't be fetched: No space.",
        ),
        (
            Rollout("demo", "failed", None, "1", "champion", "It has none."),
            "demo: wanted no version, serving version 1, because the registry names no champion: It has none.",
        ),
    ],
)
def test_it_is_said_in_a_sentence(rollout, sentence):
    assert rollout.sentence() == sentence


def test_every_stage_has_its_words():
    assert set(FAULTS) == set(get_args(Stage))
