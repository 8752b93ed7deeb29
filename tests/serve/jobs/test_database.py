from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from ops.services import Postgres
from serve.jobs.database import durable, open_database, soft
from serve.jobs.schema import jobs
from serve.jobs.store import JobStore


@pytest.fixture
def sqlite_engine(folder: Path) -> Iterator[sa.Engine]:
    engine = open_database(f"sqlite:///{folder / 'sqlite.db'}")
    yield engine
    engine.dispose()


@pytest.fixture
def postgres_engine(postgres: Postgres) -> Iterator[sa.Engine]:
    engine = open_database(postgres.url())
    yield engine
    engine.dispose()


def pragma(connection: sa.Connection, name: str) -> object:
    return connection.exec_driver_sql(f"PRAGMA {name}").scalar()


def test_a_connection_logs_ahead_and_checks_foreign_keys_and_waits(sqlite_engine):
    with sqlite_engine.connect() as connection:
        assert pragma(connection, "journal_mode") == "wal"
        assert pragma(connection, "foreign_keys") == 1
        assert pragma(connection, "busy_timeout") == 10_000


def test_only_durable_transactions_wait_for_the_disk_on_sqlite(sqlite_engine):
    full, normal = 2, 1
    for kind, expected in ((durable, full), (soft, normal), (durable, full)):
        with kind(sqlite_engine).begin() as connection:
            assert pragma(connection, "synchronous") == expected


def test_only_durable_transactions_wait_for_the_disk_on_postgresql(postgres_engine):
    for kind, expected in ((durable, "on"), (soft, "off"), (durable, "on")):
        with kind(postgres_engine).begin() as connection:
            assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == expected


def test_what_is_not_committed_never_was(engine, store, spec, model):
    job = store.submit("demo", spec, model)
    with durable(engine).connect() as connection:
        connection.execute(sa.delete(jobs))
    assert store.get(job.id) == job


def test_a_reader_of_sqlite_sees_one_moment(sqlite_engine, spec, model):
    count = sa.select(sa.func.count()).select_from(jobs)
    with sqlite_engine.connect() as connection:
        before = connection.scalar(count)
        JobStore(sqlite_engine).submit("demo", spec, model)
        assert connection.scalar(count) == before == 0


def test_an_event_needs_its_job(engine):
    with pytest.raises(sa.exc.IntegrityError), durable(engine).begin() as connection:
        connection.exec_driver_sql("INSERT INTO events (job_id, kind, data, at) VALUES ('job_0', 'queued', '{}', 0)")


def test_a_state_outside_the_list_is_refused(engine, store, spec, model):
    store.submit("demo", spec, model)
    with pytest.raises(sa.exc.IntegrityError), durable(engine).begin() as connection:
        connection.execute(sa.update(jobs).values(state="paused"))


def test_a_claim_reads_an_index_in_order(sqlite_engine):
    query = "EXPLAIN QUERY PLAN SELECT id FROM jobs WHERE state = 'queued' ORDER BY created_at, id LIMIT 3"
    with sqlite_engine.connect() as connection:
        plan = " ".join(row.detail for row in connection.exec_driver_sql(query))
    assert "COVERING INDEX jobs_by_age" in plan
    assert "TEMP B-TREE" not in plan


def test_opening_again_keeps_the_rows(database_url, store, spec, model):
    job = store.submit("demo", spec, model)
    again = open_database(database_url)
    assert JobStore(again).get(job.id) == job
    again.dispose()


def test_a_folder_is_made_for_the_file(tmp_path: Path):
    open_database(f"sqlite:///{tmp_path / 'a' / 'b' / 'jobs.db'}").dispose()
    assert (tmp_path / "a" / "b" / "jobs.db").is_file()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_database_without_a_file_is_refused(url):
    with pytest.raises(ValueError, match="no file"):
        open_database(url)


def test_an_unknown_dialect_is_refused_without_showing_its_password():
    with pytest.raises(ValueError, match="choose sqlite") as caught:
        open_database("mysql://me:secret@host/jobs")
    assert "secret" not in str(caught.value)
