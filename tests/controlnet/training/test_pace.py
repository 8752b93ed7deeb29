from types import SimpleNamespace

import pytest

from controlnet.training.pace import Pace, rate


def test_the_rate_warms_up_holds_and_falls_to_its_floor():
    shape = {"warmup": 4, "hold": 0.5, "floor": 0.1}
    assert rate(0.0, 0, **shape) == 0.25
    assert rate(0.5, 50, **shape) == 1
    assert rate(0.75, 75, **shape) == pytest.approx(0.55)
    assert rate(1.0, 100, **shape) == pytest.approx(0.1)


@pytest.fixture
def clock():
    return {"now": 0.0}


def pace(clock, minutes):
    return Pace(steps=100, minutes=minutes, warmup=0, hold=0.5, floor=0.0, clock=lambda: clock["now"])


class Module:
    def configure_optimizers(self):
        import torch

        return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)


def trainer():
    return SimpleNamespace(global_step=0, should_stop=False)


def test_progress_is_by_steps_or_by_the_clock_whichever_is_farther(clock):
    running = pace(clock, minutes=1)
    running.on_train_start(trainer(), Module())
    clock["now"] = 30
    assert running.progress(10) == pytest.approx(0.5)
    assert running.progress(80) == pytest.approx(0.8)
    clock["now"] = 120
    assert running.progress(10) == 1


def test_without_a_limit_the_clock_does_not_matter(clock):
    running = pace(clock, minutes=None)
    running.on_train_start(trainer(), Module())
    clock["now"] = 1e9
    assert running.progress(10) == pytest.approx(0.1)


def test_the_minutes_of_an_interrupted_run_count(clock):
    first = pace(clock, minutes=1)
    first.on_train_start(trainer(), Module())
    clock["now"] = 30
    second = pace(clock, minutes=1)
    second.load_state_dict(first.state_dict())
    clock["now"] = 1000
    second.on_train_start(trainer(), Module())
    clock["now"] = 1015
    assert second.progress(0) == pytest.approx(0.75)


@pytest.mark.parametrize(("seconds", "stops"), [(59.0, False), (60.0, True)])
def test_a_run_whose_minutes_are_used_up_stops_before_its_first_step(clock, seconds, stops):
    running, train = pace(clock, minutes=1), trainer()
    running.load_state_dict({"seconds": seconds})
    running.on_train_start(train, Module())
    assert train.should_stop is stops
