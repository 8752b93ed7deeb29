"""The versions of the tables, up and down on data, on both databases."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from serve.jobs.database import durable, open_database, read_database
from serve.jobs.migrations import SchemaMismatch, _config, downgrade, head, upgrade, version, versions
from serve.jobs.schema import metadata
from serve.jobs.store import WEEK_S, JobResult, JobStore, StoredImage, StoredMap
from serve.jobs.usage import Used

HEAD = "7.1"
RESULT = JobResult(
    images=(StoredImage("demo/a.png", 7, 256, 192), StoredImage("demo/b.png", 8, 256, 192)),
    control_maps=(StoredMap("demo/map.png", "canny", 0),),
    timings={"sampling": 2.5},
)


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh_url(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    """A database without any table."""
    if request.param == "sqlite":
        yield f"sqlite:///{folder / 'fresh.db'}"
        return
    server = sa.create_engine(request.getfixturevalue("postgres").url(), isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.exec_driver_sql("CREATE DATABASE fresh")
    yield request.getfixturevalue("postgres").url("fresh")
    with server.connect() as connection:
        connection.exec_driver_sql("DROP DATABASE fresh")
    server.dispose()


@pytest.fixture
def fresh(fresh_url: str) -> Iterator[sa.Engine]:
    engine = open_database(fresh_url)
    yield engine
    engine.dispose()


@pytest.fixture
def filled(fresh: sa.Engine, clock, spec, model) -> dict[str, str]:
    """One job of every kind; their ids."""
    store = JobStore(fresh, clock)
    ids = {}
    for kind in ("succeeded", "cancelled", "running", "queued"):
        clock.advance(1)
        ids[kind] = store.submit("demo", spec, model).id
        if kind == "cancelled":
            store.request_cancel(ids[kind], "demo")
        elif kind != "queued":
            (lease,) = store.claim("a", 30, 1)
            if kind == "succeeded":
                store.succeed(lease, RESULT)
    store.set_serving(model)
    return ids


def current(engine: sa.Engine) -> str | None:
    with engine.connect() as connection:
        return version(connection)


def rows(engine: sa.Engine, table: str) -> list[dict[str, object]]:
    with engine.connect() as connection:
        found = [dict(row) for row in connection.exec_driver_sql(f"SELECT * FROM {table}").mappings()]
    return sorted(found, key=lambda row: json.dumps(row, default=str, sort_keys=True))


def test_an_empty_database_gets_the_tables_of_now(fresh):
    assert current(fresh) == HEAD


def test_the_versions_make_the_tables_that_the_program_knows(fresh):
    with fresh.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_the_tables_of_now_keep_the_checks_of_the_program(fresh):
    """What `compare_metadata` does not look at."""
    inspector = sa.inspect(fresh)
    assert {check["name"] for check in inspector.get_check_constraints("jobs")} == {"jobs_state"}
    assert len(inspector.get_foreign_keys("events")) == 1
    if fresh.dialect.name == "sqlite":
        with fresh.connect() as connection:
            made = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE name IN ('events', 'swept')")
            assert all("AUTOINCREMENT" in sql for sql in made.scalars())


def test_going_down_and_up_keeps_jobs_events_and_pointers(fresh, filled):
    tables = ("jobs", "events", "serving", "usage", "holds")
    before = {table: rows(fresh, table) for table in tables}
    downgrade(durable(fresh), "1")
    assert current(fresh) == "1"
    assert {row["id"] for row in rows(fresh, "jobs")} == set(filled.values())
    assert not sa.inspect(fresh).has_table("usage")
    upgrade(fresh, durable(fresh))
    assert {table: rows(fresh, table) for table in tables} == before


def test_what_was_there_before_is_counted_held_and_expires(fresh, filled, clock):
    downgrade(durable(fresh), "1")
    upgrade(fresh, durable(fresh))
    store = JobStore(fresh, clock)
    assert store.usage.between("demo", 0, 1e10) == [
        Used("1970-01-01", "demo", jobs=1, images=2, steps=40, pixels=2 * 256 * 192, gpu_seconds=2.5, gflop=0.0)
    ]
    assert store.retention.condemn(["demo/in.png", "demo/a.png", "demo/b.png", "demo/map.png"]) == 0
    clock.advance(WEEK_S)
    assert store.retention.expire() == 2
    assert store.get(filled["succeeded"]).result is None


def test_a_job_of_before_goes_on(fresh, filled, clock):
    downgrade(durable(fresh), "1")
    upgrade(fresh, durable(fresh))
    store = JobStore(fresh, clock)
    (lease,) = store.claim("b", 30, 1)
    store.succeed(lease, RESULT)
    assert store.get(filled["queued"]).state == "succeeded"
    assert store.usage.between("demo", 0, 1e10)[0].jobs == 2


def test_usage_of_a_job_whose_row_is_gone_is_kept_on_the_way_up_and_not_down(fresh, filled):
    with durable(fresh).begin() as connection:
        connection.exec_driver_sql("DELETE FROM jobs WHERE state = 'succeeded'")
    assert len(rows(fresh, "usage")) == 1
    downgrade(durable(fresh), "3")
    assert rows(fresh, "usage") == []
    assert len(sa.inspect(fresh).get_foreign_keys("usage")) == 1
    upgrade(fresh, durable(fresh))
    assert sa.inspect(fresh).get_foreign_keys("usage") == []


def test_going_down_to_nothing_leaves_nothing(fresh, filled):
    downgrade(durable(fresh), "base")
    assert set(sa.inspect(fresh).get_table_names()) == {"alembic_version"}


def test_opening_brings_an_older_database_up_to_now(fresh, filled, fresh_url):
    downgrade(durable(fresh), "1")
    again = open_database(fresh_url)
    assert current(again) == HEAD
    assert JobStore(again).get(filled["succeeded"]).result == RESULT
    again.dispose()


def test_a_database_of_before_alembic_is_taken_over(fresh, filled, fresh_url):
    downgrade(durable(fresh), "1")
    with durable(fresh).begin() as connection:
        connection.exec_driver_sql("DROP TABLE alembic_version")
        connection.exec_driver_sql("CREATE TABLE schema_version (version INTEGER PRIMARY KEY)")
        connection.exec_driver_sql("INSERT INTO schema_version VALUES (1)")
    again = open_database(fresh_url)
    assert current(again) == HEAD
    assert JobStore(again).get(filled["succeeded"]).result == RESULT
    assert not sa.inspect(again).has_table("schema_version")
    again.dispose()


def test_a_newer_database_is_refused_and_left_alone(fresh, fresh_url):
    with durable(fresh).begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '99'")
    with pytest.raises(SchemaMismatch, match=f"version 99, this program knows up to {HEAD}"):
        open_database(fresh_url)
    assert current(fresh) == "99"


def test_tables_of_a_later_minor_version_are_used_and_left_alone(fresh, fresh_url, spec, model):
    """An older program starts again during a rolling upgrade, and after its own return."""
    with durable(fresh).begin() as connection:
        connection.exec_driver_sql("ALTER TABLE jobs ADD COLUMN later INTEGER NOT NULL DEFAULT 5")
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '7.99'")
    again = open_database(fresh_url)
    store = JobStore(again)
    job = store.submit("demo", spec, model)
    (lease,) = store.claim("a", 30, 1)
    store.succeed(lease, RESULT)
    looks = read_database(fresh_url)
    assert JobStore(looks).get(job.id).state == "succeeded"
    assert current(again) == "7.99"
    assert [row["later"] for row in rows(again, "jobs")] == [5]
    looks.dispose()
    again.dispose()


@pytest.mark.parametrize("minor", [name for name in versions() if "." in name])
def test_a_minor_version_only_adds(fresh, minor):
    """Tables, indexes, and columns that a program which does not know them need not fill."""
    before = ScriptDirectory.from_config(_config()).get_revision(minor).down_revision
    downgrade(durable(fresh), before)
    had = shape(fresh)
    upgrade(fresh, durable(fresh), minor)
    has = shape(fresh)
    assert {name: has[name] for name in had} == had
    tables = {name.partition(".")[0] for name in had}
    added = [one for name, one in has.items() if name not in had and name.partition(".")[0] in tables]
    assert all(one["nullable"] or one["default"] is not None for one in added)


def shape(engine: sa.Engine) -> dict[str, dict[str, Any]]:
    """What the inspector says of the columns, by `table.column`."""
    inspector = sa.inspect(engine)
    tables = inspector.get_table_names()
    found = {f"{table}.{column['name']}": column for table in tables for column in inspector.get_columns(table)}
    return {name: {**column, "type": repr(column["type"])} for name, column in found.items()}


def test_a_version_that_fails_half_way_leaves_the_one_before(fresh, filled, monkeypatch):
    downgrade(durable(fresh), "1")
    before = rows(fresh, "jobs")
    with durable(fresh).begin() as connection:  # a result that cannot be counted
        connection.exec_driver_sql("UPDATE jobs SET result = '{}' WHERE state = 'succeeded'")
    broken = rows(fresh, "jobs")
    assert broken != before
    with pytest.raises(KeyError):
        upgrade(fresh, durable(fresh))
    assert current(fresh) == "1"
    assert rows(fresh, "jobs") == broken


def test_many_may_open_a_new_database_at_once(fresh_url):
    failures: list[Exception] = []
    barrier = threading.Barrier(8)

    def open_one() -> None:
        barrier.wait()
        try:
            open_database(fresh_url).dispose()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=open_one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_the_last_of_the_versions_is_the_one_that_alembic_ends_with():
    assert ScriptDirectory.from_config(_config()).get_current_head() == head()
