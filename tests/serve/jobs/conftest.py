"""One database per test, one clock that only tests move."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from ops.services import Postgres
from serve.jobs.database import durable, open_database
from serve.jobs.schema import condemned as condemned_table
from serve.jobs.schema import metadata
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


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database, to be copied: making one takes longer than most tests."""
    path = tmp_path_factory.mktemp("template") / "jobs.db"
    open_database(f"sqlite:///{path}").dispose()
    return path


@pytest.fixture(scope="session")
def postgres_database(postgres: Postgres) -> Iterator[sa.Engine]:
    """One database of the server, which tests use one after the other."""
    engine = open_database(postgres.url())
    yield engine
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    """An empty database; the conformance suite runs against each of these."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), folder / "jobs.db")
        yield f"sqlite:///{folder / 'jobs.db'}"
        return
    database: sa.Engine = request.getfixturevalue("postgres_database")
    yield database.url.render_as_string(hide_password=False)
    names = ", ".join(metadata.tables)
    with durable(database).begin() as connection:
        connection.exec_driver_sql(f"TRUNCATE {names} RESTART IDENTITY")


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    engine = open_database(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def store(engine: sa.Engine, clock: Clock) -> JobStore:
    return JobStore(engine, clock)


@pytest.fixture
def condemned(engine: sa.Engine) -> Callable[[], set[str]]:
    """Keys that are to be deleted, or are being."""

    def condemned() -> set[str]:
        with engine.connect() as connection:
            return set(connection.scalars(sa.select(condemned_table.c.key)))

    return condemned


@pytest.fixture
def sweep_away(store: JobStore) -> Callable[..., None]:
    """Do what a sweeper does with keys that nothing holds."""

    def sweep_away(*keys: str) -> None:
        store.retention.condemn(keys)
        deletion = store.retention.take()
        assert set(keys) <= set(deletion.keys)
        store.retention.swept(deletion, keys)

    return sweep_away


@pytest.fixture
def spec() -> JobSpec:
    control = ControlSpec("canny", "canny", ("demo/in.png",), {"low_threshold": 100, "high_threshold": 200.5})
    return JobSpec("a house", "", (7, 2**53 + 1), steps=20, guidance=7.5, width=256, height=192, controls=(control,))


@pytest.fixture
def model() -> ServedModel:
    return ServedModel("demo", "3", "sha256:aa", {"controls": {"canny": {}}}, "models:/demo/3")


@pytest.fixture
def submit(store, spec, model, clock):
    """Submit a job a second after the one before."""

    def submit(tenant="demo", **how):
        clock.advance(1)
        return store.submit(tenant, spec, model, **how)

    return submit


@pytest.fixture
def claim_one(store):
    def claim_one(owner="a", lease_s=30):
        (lease,) = store.claim(owner, lease_s, 1)
        return lease

    return claim_one


@pytest.fixture
def until_blocked(engine):
    """Wait until a thread waits for a lock of PostgreSQL, or has ended."""

    def until_blocked(thread: threading.Thread) -> None:
        waiting = 0
        while thread.is_alive() and not waiting:
            thread.join(0.005)
            with engine.connect() as connection:
                waiting = connection.exec_driver_sql("SELECT count(*) FROM pg_locks WHERE NOT granted").scalar()

    return until_blocked


@pytest.fixture
def lose_answers(engine, monkeypatch):
    """Have the connection break after each of so many commits, or before it: nobody hears whether they were done."""

    def lose(count: int = 1, done: bool = True) -> None:
        commit, left = engine.dialect.do_commit, iter(range(count))

        def commit_and_break(connection: Any) -> None:
            breaks = next(left, None) is not None
            if done or not breaks:
                commit(connection)
            if not breaks:
                return
            if engine.dialect.name == "postgresql":
                raise psycopg.OperationalError("server closed the connection unexpectedly")
            broken = sqlite3.OperationalError("disk I/O error")
            broken.sqlite_errorcode = sqlite3.SQLITE_IOERR
            raise broken

        monkeypatch.setattr(engine.dialect, "do_commit", commit_and_break)

    return lose
