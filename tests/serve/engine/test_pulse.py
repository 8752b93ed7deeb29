from __future__ import annotations

import pytest

from serve.engine.pulse import Pulse


@pytest.fixture
def work():
    return []


@pytest.fixture
def pulse(clock, work):
    return Pulse(clock, lambda: bool(work))


def test_no_work_no_age(pulse, clock):
    clock.now += 10
    assert pulse.age == 0


def test_seconds_count_while_there_is_work(pulse, clock, work):
    work.append(1)
    clock.now += 10
    assert pulse.age == 10


def test_a_beat_begins_anew(pulse, clock, work):
    work.append(1)
    clock.now += 10
    pulse.beat()
    clock.now += 1
    assert pulse.age == 1


def test_idle_seconds_do_not_count(pulse, clock, work):
    clock.now += 10
    pulse.wake()
    work.append(1)
    clock.now += 1
    assert pulse.age == 1


def test_more_work_does_not_hide_a_stall(pulse, clock, work):
    work.append(1)
    clock.now += 10
    pulse.wake()
    work.append(2)
    assert pulse.age == 10
