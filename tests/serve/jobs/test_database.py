from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from ops.services import Postgres
from serve.config import Settings
from serve.jobs.database import (
    DatabaseDamaged,
    NoDatabase,
    WrongDatabase,
    durable,
    open_database,
    read_database,
    soft,
)
from serve.jobs.migrations import SchemaMismatch, head
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


def test_what_is_no_url_is_refused():
    with pytest.raises(WrongDatabase, match="CN_DATABASE is no URL: choose sqlite"):
        open_database("jobs.db")


def test_an_unknown_dialect_is_refused_without_showing_its_password():
    with pytest.raises(ValueError, match="choose sqlite") as caught:
        open_database("mysql://me:secret@host/jobs")
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_database_is_named(tmp_path: Path):
    (tmp_path / "jobs.db").write_bytes(b"this is no database\n" * 300)
    for opens in (open_database, read_database):
        with pytest.raises(DatabaseDamaged, match=rf"The database {tmp_path}/jobs\.db is damaged \(file is not"):
            opens(f"sqlite:///{tmp_path}/jobs.db")


def test_a_database_that_is_damaged_while_it_is_open_is_named(sqlite_engine, store, spec, model):
    file = sqlite_engine.url.database
    with sqlite_engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    with open(file, "r+b") as raw:
        raw.seek(4096)
        raw.write(b"\xff" * (Path(file).stat().st_size - 4096))
    sqlite_engine.dispose()
    with (
        pytest.raises(DatabaseDamaged, match=rf"The database {file} is damaged"),
        sqlite_engine.connect() as connection,
    ):
        connection.execute(sa.select(jobs)).all()


def test_a_database_can_be_looked_at_and_not_written(sqlite_engine, spec, model):
    job = JobStore(sqlite_engine).submit("demo", spec, model)
    looks = read_database(str(sqlite_engine.url))
    assert JobStore(looks).get(job.id) == job
    with pytest.raises(sa.exc.OperationalError, match="readonly"):
        JobStore(looks).submit("demo", spec, model)
    looks.dispose()


def test_a_look_makes_nothing(tmp_path: Path):
    with pytest.raises(NoDatabase, match=f"no platform's data in {tmp_path}/data: set CN_DATA_DIR"):
        read_database(f"sqlite:///{tmp_path}/data/jobs.db")
    assert list(tmp_path.iterdir()) == []


def test_a_look_into_a_folder_that_is_read_only_makes_no_file_there(tmp_path: Path, monkeypatch):
    url = f"sqlite:///{tmp_path}/jobs.db"
    open_database(url).dispose()
    before = list(tmp_path.iterdir())
    monkeypatch.setattr(os, "access", lambda *_: False)
    looks = read_database(url)
    assert JobStore(looks).get("job_0") is None
    assert list(tmp_path.iterdir()) == before
    looks.dispose()


def test_a_database_without_tables_has_no_platform(tmp_path: Path):
    (tmp_path / "jobs.db").touch()
    with pytest.raises(NoDatabase, match="run `cnserve up`"):
        read_database(f"sqlite:///{tmp_path}/jobs.db")


@pytest.mark.parametrize(
    ("version", "told"),
    [("2", f"tables of version 2, and this program's are {head()}"), ("99", f"knows up to {head()}")],
)
def test_a_look_changes_no_tables_of_another_version(sqlite_engine, version, told):
    with durable(sqlite_engine).begin() as connection:
        connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{version}'")
    with pytest.raises(SchemaMismatch, match=told):
        read_database(str(sqlite_engine.url))
    with sqlite_engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == version


@pytest.mark.parametrize("name", ["a b", "a%20b", "what?", "no#1", "größe 日本"])
def test_a_file_may_have_any_name(tmp_path: Path, name: str):
    url = Settings(data_dir=tmp_path / name, _env_file=None).database_url
    open_database(url).dispose()
    read_database(url).dispose()
    assert (tmp_path / name / "jobs.db").stat().st_size > 0
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
