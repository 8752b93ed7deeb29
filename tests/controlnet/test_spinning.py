"""When threads spin at barriers: decided by what the kernel says, played here."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import pytest
import torch

from controlnet.spinning import CALM_S, LOOK_EVERY_S, OFTEN, Pool, Spinning


@dataclass
class Machine:
    """Counts of a process, and the pools it makes."""

    seconds: float = 0.0
    count: int = 0
    now: float = 0.0
    pools: list[str] = field(default_factory=list)

    def preempted(self) -> tuple[float, int]:
        return self.seconds, self.count

    def pool(self) -> Machine:
        self.pools.append("made")
        return self

    def end(self) -> None:
        self.pools.append("ended")

    def work(self, rate: float, seconds: float = 1.0) -> None:
        """Compute, and lose cores at a rate."""
        self.seconds += seconds
        self.now += seconds
        self.count += round(rate * seconds)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    return Machine()


@pytest.fixture
def spinning(machine: Machine) -> Spinning:
    return Spinning(machine.preempted, lambda: machine.now, machine.pool)  # type: ignore[arg-type, return-value]


def test_a_quiet_machine_is_left_alone(machine: Machine, spinning: Spinning) -> None:
    for _ in range(10):
        machine.work(OFTEN - 1)
        spinning.look()
    assert machine.pools == []


def test_beside_other_work_one_pool_is_kept(machine: Machine, spinning: Spinning) -> None:
    for _ in range(10):
        machine.work(OFTEN + 1)
        spinning.look()
    assert (machine.pools, spinning.brief) == (["made"], True)


def test_it_is_given_up_when_the_machine_has_been_quiet_for_a_while(machine: Machine, spinning: Spinning) -> None:
    machine.work(2 * OFTEN)
    spinning.look()
    machine.work(0, CALM_S - 0.1)
    spinning.look()
    assert spinning.brief
    machine.work(0, 0.2)
    spinning.look()
    assert (machine.pools, spinning.brief) == (["made", "ended"], False)


def test_a_moment_says_nothing(machine: Machine, spinning: Spinning) -> None:
    """Of one loss in a hundredth of a second no rate can be told."""
    machine.work(100 * OFTEN, LOOK_EVERY_S / 2)
    spinning.look()
    assert machine.pools == []
    machine.work(100 * OFTEN, LOOK_EVERY_S)
    spinning.look()
    assert machine.pools == ["made"]


def test_time_in_which_nothing_is_computed_is_no_rest(machine: Machine, spinning: Spinning) -> None:
    machine.work(2 * OFTEN)
    spinning.look()
    machine.now += 100 * CALM_S
    spinning.look()
    assert spinning.brief


def test_one_thread_waits_for_nobody(machine: Machine, spinning: Spinning, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    machine.work(2 * OFTEN)
    spinning.look()
    assert machine.pools == []


def test_a_pool_is_a_thread_that_ends() -> None:
    before = set(threading.enumerate())
    pool = Pool()
    (thread,) = set(threading.enumerate()) - before
    assert thread.daemon
    pool.end()
    assert set(threading.enumerate()) == before
