"""What every test shares. Bundles are made by the conftest of the package that needs them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

from ops.services import Azurite, Missing, Postgres

settings.register_profile("shared machine", deadline=None)  # a slow example is no failure
settings.load_profile("shared machine")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Tiny tensors lose more to waking threads than they gain, and the machine may be shared."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server for the whole session; tests take databases in it. Skips where there is none."""
    try:
        server = Postgres()
    except Missing as missing:
        pytest.skip(str(missing))
    with server:
        yield server


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    """Azure's blob service, emulated, for the whole session. Skips where there is none."""
    try:
        server = Azurite()
    except Missing as missing:
        pytest.skip(str(missing))
    with server:
        yield server
