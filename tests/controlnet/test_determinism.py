"""Leaving cuDNN out for a while."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from controlnet.determinism import WithoutCudnn


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    before = torch.backends.cudnn.enabled
    yield
    torch.backends.cudnn.enabled = before


@pytest.mark.parametrize("before", [True, False])
def test_cudnn_is_put_back_as_it_was(before: bool) -> None:
    torch.backends.cudnn.enabled = before
    without = WithoutCudnn()
    with without:
        assert not torch.backends.cudnn.enabled
    assert torch.backends.cudnn.enabled is before


def test_it_stays_out_until_the_last_thread_has_left() -> None:
    torch.backends.cudnn.enabled = True
    without, inside, leave = WithoutCudnn(), threading.Event(), threading.Event()

    def stay() -> None:
        with without:
            inside.set()
            leave.wait(10)

    other = threading.Thread(target=stay)
    with without:
        other.start()
        assert inside.wait(10)
    assert not torch.backends.cudnn.enabled
    leave.set()
    other.join()
    assert torch.backends.cudnn.enabled
