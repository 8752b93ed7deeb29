"""One database per test, one clock that only tests move."""

from __future__ import annotations

import shutil
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


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database to copy: making the tables waits for the disk, a copy does not."""
    path = tmp_path_factory.mktemp("sqlite") / "jobs.db"
    open_database(f"sqlite:///{path}").dispose()
    return path


@pytest.fixture(params=["sqlite"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path, sqlite_template: Path) -> str:
    """The conformance suite runs against each of these."""
    assert request.param == "sqlite"
    return f"sqlite:///{shutil.copy(sqlite_template, tmp_path / 'jobs.db')}"


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
