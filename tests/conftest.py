"""What every test shares. Bundles are made by the conftest of the package that needs them."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from ops.faults.disk import Disk
from ops.services import Azurite, Missing, Postgres

settings.register_profile("shared machine", deadline=None)  # a slow example is no failure
settings.load_profile("shared machine")

END_TO_END = "tests/e2e/"
WORKERS_AT_MOST = 4  # each imports torch and starts the servers that its tests ask for

pytest_plugins = ["tests.quick"]


def pytest_configure() -> None:
    """Imports make a million objects and no garbage."""
    gc.disable()


def pytest_collection_finish() -> None:
    """What was imported stays, and need not be looked at whenever garbage is collected."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """End-to-end tests come last, or first where other processes run the rest meanwhile.

    Those of the session's platform come before those that start their own: it has ended then.
    """
    shared_out = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) > 1

    def place(item: pytest.Item) -> tuple[bool, bool]:
        end_to_end = item.nodeid.startswith(END_TO_END)
        return end_to_end is not shared_out, end_to_end and "platform" not in getattr(item, "fixturenames", ())

    items.sort(key=place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One worker a core that this process may use; `-n auto` counts cores that `taskset` or a container keeps away."""
    return min(WORKERS_AT_MOST, len(os.sched_getaffinity(0)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file's tests stay together, for they share fixtures; all end-to-end tests do: one platform at a time."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return END_TO_END if nodeid.startswith(END_TO_END) else nodeid.partition("::")[0]

    return ByFile(config, log)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Tiny tensors lose more to waking threads than they gain, and the machine may be shared."""
    import torch  # here: with xdist the process that shares out the tests needs none

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


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A small disk whose power can be cut. Skips where there can be none."""
    if why := Disk.possible():
        pytest.skip(why)
    with Disk(tmp_path / "disk", 16 << 20) as disk:
        yield disk
