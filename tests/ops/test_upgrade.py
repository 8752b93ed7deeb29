"""The measurement, on few rows; its figures are for `python -m ops.upgrade` to say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from ops.upgrade import measure
from serve.jobs.database import open_database
from serve.jobs.migrations import versions
from serve.jobs.store import JobStore


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'jobs.db'}"
        return
    server = sa.create_engine(request.getfixturevalue("postgres").url(), isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.exec_driver_sql("CREATE DATABASE grown")
    yield request.getfixturevalue("postgres").url("grown")
    with server.connect() as connection:
        connection.exec_driver_sql("DROP DATABASE grown")
    server.dispose()


def test_grown_tables_are_brought_up_and_their_jobs_go_on(url: str) -> None:
    found = measure(url, rows=1000)
    assert list(found.versions) == versions()[versions().index("4") :]
    assert min(found.all, found.read, found.write) > 0
    engine = open_database(url)
    store = JobStore(engine)
    assert store.counts()["succeeded"] == 998
    assert [lease.job.spec.n for lease in store.claim("a", 30, 100)] == [2, 2]
    engine.dispose()
