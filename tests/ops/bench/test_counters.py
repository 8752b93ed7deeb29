from __future__ import annotations

import torch
from torch import nn

from ops.bench.counters import Counter, counting


def count(*batches: torch.Tensor) -> Counter:
    net = nn.Identity()
    with counting({"net": net}) as counters:
        for batch in batches:
            net(batch)
    return counters["net"]


def lines(*values: float) -> torch.Tensor:
    return torch.tensor(values)[:, None]


def test_lines_are_counted_each_time_they_are_computed() -> None:
    counter = count(lines(1, 2), lines(2, 3))
    assert (counter.lines, counter.padding, counter.calls) == (4, 0, 2)


def test_copies_that_fill_a_bucket_are_padding() -> None:
    counter = count(lines(1, 2, 3, 1))
    assert (counter.lines, counter.padding) == (3, 1)


def test_copies_beyond_the_bucket_are_work() -> None:
    counter = count(lines(1, 2, 1, 1))
    assert (counter.lines, counter.padding) == (4, 0)
