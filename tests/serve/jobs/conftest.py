"""One database per test, one clock that only tests move."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from serve.jobs.schema import open_database
from serve.jobs.spec import ControlSpec, JobSpec
from serve.jobs.store import JobStore, ServedModel


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where the machine has such a place: the suite commits a thousand times and would wait for the disk."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as name:
        yield Path(name)


@pytest.fixture(params=["sqlite"])
def database_url(request: pytest.FixtureRequest, folder: Path) -> str:
    """The conformance suite runs against each of these."""
    return {"sqlite": f"sqlite:///{folder / 'jobs.db'}"}[request.param]


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    engine = open_database(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def store(engine: sa.Engine, clock: Clock) -> JobStore:
    return JobStore(engine, clock)


@pytest.fixture
def spec() -> JobSpec:
    control = ControlSpec("canny", "canny", ("demo/in.png",), {"low_threshold": 100, "high_threshold": 200.5})
    return JobSpec("a house", "", (7, 2**53 + 1), steps=20, guidance=7.5, width=256, height=192, controls=(control,))


@pytest.fixture
def model() -> ServedModel:
    return ServedModel("demo", "3", "sha256:aa", {"controls": {"canny": {}}}, "models:/demo/3")
