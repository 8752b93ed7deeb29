"""Whose turn it is, suspects' or ordinary jobs'."""

from __future__ import annotations

import pytest

from serve.deployments.apart import Apart


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def apart(clock: Clock) -> Apart:
    return Apart(60.0, clock)


def test_without_a_suspect_ordinary_jobs_go_on(apart: Apart) -> None:
    assert not apart.turn(ready=False, idle=False)
    assert not apart.turn(ready=False, idle=True)


def test_the_first_suspect_has_its_turn_at_once(apart: Apart) -> None:
    assert apart.turn(ready=True, idle=False)


def test_a_turn_lasts_while_a_suspect_is_ready(apart: Apart, clock: Clock) -> None:
    assert apart.turn(ready=True, idle=False)
    clock.now = 50.0
    assert apart.turn(ready=True, idle=False)
    assert not apart.turn(ready=False, idle=False)


def test_ordinary_jobs_have_as_much_time_after_a_turn(apart: Apart, clock: Clock) -> None:
    apart.turn(ready=True, idle=False)
    clock.now = 20.0
    apart.turn(ready=False, idle=False)
    clock.now = 39.0
    assert not apart.turn(ready=True, idle=False)
    clock.now = 40.0
    assert apart.turn(ready=True, idle=False)


def test_a_turn_ends_though_what_runs_does_not(apart: Apart, clock: Clock) -> None:
    apart.turn(ready=True, idle=False)
    clock.now = 61.0
    assert not apart.turn(ready=True, idle=False)
    clock.now = 121.0
    assert not apart.turn(ready=True, idle=False)
    clock.now = 122.0
    assert apart.turn(ready=True, idle=False)


def test_a_suspect_waits_for_nobody_where_nobody_has_work(apart: Apart, clock: Clock) -> None:
    apart.turn(ready=True, idle=False)
    clock.now = 20.0
    apart.turn(ready=False, idle=False)
    assert apart.turn(ready=True, idle=True)
