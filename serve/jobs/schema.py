"""The tables, and how a database is opened.

SQLite is used as a database, not as a file format: write-ahead log, foreign keys, and transactions that are ours.
Python's driver would begin them by itself, late and only before some statements, so it is told not to
(`isolation_level = None`) and SQLAlchemy's "begin" event says BEGIN. Three kinds, chosen by the engine one writes with:

- `engine`: BEGIN, a snapshot to read from.
- `durable(engine)`: BEGIN IMMEDIATE takes the write lock at once, so that what was read is still so when it is written
  (a deferred transaction that turns into a writer fails when another has written since). The commit is on the disk
  when it returns: an accepted job outlives a power cut.
- `soft(engine)`: the same without waiting for the disk, for what only matters while this machine is up: leases, locks,
  progress. A crash of the process loses nothing either way, nor can a power cut damage the file.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from serve.jobs.job import STATES

SCHEMA_VERSION = 1
"""Raised by every change of the tables; databases of other versions are refused."""

BUSY_TIMEOUT_S = 10.0
"""How long a writer waits for the one before it."""

metadata = sa.MetaData()

_JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # only INTEGER PRIMARY KEY counts by itself in SQLite

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("tenant", sa.String, nullable=False),
    sa.Column("state", sa.String, sa.CheckConstraint(f"state IN {STATES}", name="jobs_state"), nullable=False),
    sa.Column("spec", _JSON, nullable=False),
    sa.Column("model_name", sa.String, nullable=False),
    sa.Column("model_version", sa.String, nullable=False),
    sa.Column("model_digest", sa.String, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False, default=0),
    sa.Column("max_attempts", sa.Integer, nullable=False),
    sa.Column("fence", sa.Integer, nullable=False, default=0),
    sa.Column("lease_owner", sa.String),
    sa.Column("lease_until", sa.Double),
    sa.Column("cancel_requested", sa.Boolean, nullable=False, default=False),
    sa.Column("progress", _JSON),
    sa.Column("result", _JSON),
    sa.Column("error", _JSON),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("started_at", sa.Double),
    sa.Column("finished_at", sa.Double),
    sa.Index("jobs_by_age", "state", "created_at", "id"),
    sa.Index("jobs_by_lease", "state", "lease_until"),
    sa.Index("jobs_by_tenant", "tenant", "created_at", "id"),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("id", _ID, primary_key=True, autoincrement=True),
    sa.Column("job_id", sa.ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("data", _JSON, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Index("events_by_job", "job_id", "id"),
    sqlite_autoincrement=True,  # an id is never given twice, not even after its event was deleted
)

serving = sa.Table(
    "serving",
    metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("version", sa.String, nullable=False),
    sa.Column("digest", sa.String, nullable=False),
    sa.Column("manifest", _JSON, nullable=False),
    sa.Column("source", sa.String, nullable=False),
    sa.Column("since", sa.Double, nullable=False),
)

locks = sa.Table(
    "locks",
    metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("owner", sa.String, nullable=False),
    sa.Column("until", sa.Double, nullable=False),
)

_version = sa.Table("schema_version", metadata, sa.Column("version", sa.Integer, primary_key=True, autoincrement=False))


class SchemaMismatch(RuntimeError):
    """The database was made by another version of this program."""


def open_database(url: str) -> sa.Engine:
    """Open the database at `url` and make its tables where there are none.

    Raises:
        ValueError: A dialect that is not supported, or a SQLite database that is not a file.
        SchemaMismatch: The tables are those of another version.
    """
    parsed = sa.make_url(url)
    if parsed.get_backend_name() != "sqlite":
        raise ValueError(f"database {parsed.render_as_string()!r}: only sqlite:///<file> is supported so far")
    if not parsed.database or parsed.database == ":memory:":
        raise ValueError(f"database {url!r} is no file: other processes could not see it")
    Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(parsed, connect_args={"timeout": BUSY_TIMEOUT_S})
    sa.event.listen(engine, "connect", _connected)
    sa.event.listen(engine, "begin", _begin)
    try:
        _use_write_ahead_log(engine)
        _create(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


def durable(engine: sa.Engine) -> sa.Engine:
    """The same database, for transactions whose commit must survive a power cut."""
    return engine.execution_options(cn_write="FULL")


def soft(engine: sa.Engine) -> sa.Engine:
    """The same database, for transactions that a power cut makes meaningless anyway."""
    return engine.execution_options(cn_write="NORMAL")


def upsert(connection: sa.Connection, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    """INSERT that can say ON CONFLICT, which each dialect spells in a construct of its own."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)


def _connected(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")


def _use_write_ahead_log(engine: sa.Engine) -> None:
    """Set the file's journal mode, which it keeps.

    The change wants the file for itself and, unlike any other statement, does not wait when it is locked: of several
    processes that open a new file at once all but one are refused. So the wait is ours.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        raw = engine.raw_connection()
        try:
            raw.cursor().execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.005)
        finally:
            raw.close()


def _begin(connection: sa.Connection) -> None:
    synchronous: Literal["FULL", "NORMAL"] | None = connection.get_execution_options().get("cn_write")
    if synchronous is None:
        connection.exec_driver_sql("BEGIN")
    else:
        connection.exec_driver_sql(f"PRAGMA synchronous = {synchronous}")
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _create(engine: sa.Engine) -> None:
    with durable(engine).begin() as connection:
        if not sa.inspect(connection).has_table(_version.name):
            metadata.create_all(connection)
            connection.execute(sa.insert(_version).values(version=SCHEMA_VERSION))
        found: Any = connection.scalar(sa.select(_version.c.version))
    if found != SCHEMA_VERSION:
        raise SchemaMismatch(
            f"{engine.url.render_as_string()} has tables of version {found}, this program needs {SCHEMA_VERSION}: "
            "run the program that made it, or point CN_DATABASE at a new one"
        )
