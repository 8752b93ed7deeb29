import pytest
import torch
from torch import nn

from controlnet.training.ema import MovingAverage


def one_weight(value):
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, value)
    return module


def test_the_decay_rises_with_the_updates_to_its_final_value():
    module = one_weight(0.0)
    average = MovingAverage(module, decay=0.25)
    nn.init.constant_(module.weight, 1.0)
    average.update(module)
    first = 1 - 2 / 11  # (1 + 1) / (10 + 1) < 0.25
    assert average.average["weight"].item() == pytest.approx(first)
    for _ in range(2):
        average.update(module)
    expected = 1 - (1 - first) * (3 / 12) * 0.25  # (1 + 2) / (10 + 2) = 0.25, then 0.25
    assert average.average["weight"].item() == pytest.approx(expected)


def test_applied_puts_the_average_in_and_takes_it_out_again():
    module = one_weight(0.0)
    average = MovingAverage(module, decay=0.9)
    nn.init.constant_(module.weight, 1.0)
    with average.applied(module):
        assert module.weight.item() == 0
    assert module.weight.item() == 1
    assert average.average["weight"].item() == 0


def test_locked_weights_have_no_average():
    module = one_weight(0.0).requires_grad_(False)
    assert not MovingAverage(module, 0.9).average


def test_an_average_shares_no_memory_with_the_weights():
    module = one_weight(0.0)
    average = MovingAverage(module, 0.9)
    with torch.no_grad():
        module.weight.add_(1)
    assert average.average["weight"].item() == 0
