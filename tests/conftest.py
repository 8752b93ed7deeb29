"""What every test shares. Servers and bundles are made by the conftest of the package that needs them."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Tiny tensors lose more to waking threads than they gain, and the machine may be shared."""
    torch.set_num_threads(1)
