"""How a database is opened, SQLite or PostgreSQL, and how one writes to it.

Three kinds of transaction, chosen by the engine one begins them with:

- `engine`: reads. A snapshot on SQLite; on PostgreSQL each statement by itself, without a BEGIN to wait for.
- `durable(engine)`: what was committed is on the disk: an accepted job outlives a power cut.
- `soft(engine)`: the same without waiting for the disk, for what only matters while this machine is up: leases, locks,
  progress. A crash of the process loses nothing either way, nor can a power cut damage the database.

SQLite is used as a database, not as a file format: write-ahead log, foreign keys, and transactions that are ours.
Python's driver would begin them by itself, late and only before some statements, so it is told not to
(`isolation_level = None`) and SQLAlchemy's "begin" event says BEGIN; for a writer BEGIN IMMEDIATE, which takes the
write lock at once, so that what was read is still so when it is written. PostgreSQL has no such lock: there a
transaction that decides by what it read locks the rows it read (READ COMMITTED, `FOR UPDATE`).

A database that is away, full or too slow is a `StoreUnavailable`, whatever the driver calls it; a damaged file is a
`DatabaseDamaged`.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Literal, ParamSpec, TypeVar
from urllib.parse import quote, unquote

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from serve.errors import OperatorError, Overloaded
from serve.jobs.clock import DatabaseClock, clock_of, set_clock
from serve.jobs.migrations import agree, upgrade

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)

BUSY_TIMEOUT_S = 10.0
"""How long a writer waits for the one before it."""

RETRY_AFTER_S = 2.0
"""After which asking again makes sense while the store is away."""

REACH_EVERY_S = 1.0
"""Seconds between attempts to open a database whose server is away."""

VICTIM_TRIES = 5
"""How often a transaction is tried that the database gives up for another one's sake."""

POSTGRES_OPTIONS = {
    "connect_timeout": 5,
    "application_name": "serve.jobs",
    # A server that vanished without a word is noticed within half a minute.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    # For a lock: longer than deadlocks and vacuums stand in the way (1 s), and than many commits of one team take; but
    # where it does not come free, whoever waits for a connection gets one within `BUSY_TIMEOUT_S`.
    "options": "-c statement_timeout=20s -c lock_timeout=4s -c idle_in_transaction_session_timeout=30s",
}

_SQLITE_TRANSIENT = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
    }
)
_POSTGRES_VICTIM = ("40001", "40P01")  # of a serialization failure, of a deadlock
_SQLITE_DAMAGED = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT})
_POSTGRES_TRANSIENT = (
    "08",  # the connection broke
    "25006",  # the server became a standby
    "25P03",  # idle in a transaction for too long
    "40",  # the transaction was rolled back
    "53",  # disk full, out of memory, too many connections
    "55P03",  # the lock did not come free in time
    "57",  # the statement took too long, or the server shuts down or starts up
    "58",  # the server's disk failed
)


class StoreUnavailable(Overloaded):
    """The database or the artifacts' store is away, full or too slow: the same call may succeed in a moment.

    Whether a write that met this was done is not known where the connection broke at its commit. Every write is made
    so that it may be repeated: those of a worker find their own fence over (`LeaseLost`) if they were done, a
    submission its own id, a reservation its own token.
    """


class Undone(StoreUnavailable):
    """The database gave a transaction up for another one's sake, as in a deadlock: nothing of it was done."""


class WrongDatabase(OperatorError, ValueError):
    """A URL that names no database that can be used."""


class NoDatabase(OperatorError):
    """No platform has stored anything there."""


class DatabaseDamaged(OperatorError):
    """A SQLite file is damaged, or is none."""


def damaged(file: str | Path, error: BaseException) -> DatabaseDamaged:
    """What is told of a SQLite file at `file` that SQLite refuses with `error`."""
    return DatabaseDamaged(
        f"The database {file} is damaged ({error}): put a copy of it in its place, or move the file away to begin anew."
    )


def open_database(url: str, clock: DatabaseClock | None = None) -> sa.Engine:
    """Open the database at `url`, make it where there is none, and bring its tables to this program's version.

    Args:
        url: SQLAlchemy's.
        clock: What becomes its time (`clock_of`); one of this machine when absent.

    Raises:
        WrongDatabase: A dialect that is not supported, or a SQLite database that is not a file.
        SchemaMismatch: The tables are those of a later major version.
        DatabaseDamaged: The file is no sound database.
        StoreUnavailable: The server does not answer.
    """
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite":
        _file(parsed).parent.mkdir(parents=True, exist_ok=True)
    engine = _opened(parsed, clock or DatabaseClock())
    try:
        if engine.dialect.name == "sqlite":
            _use_write_ahead_log(engine)
        upgrade(engine, durable(engine))
        if engine.dialect.name == "sqlite":
            clock_of(engine).agree(engine, soft(engine))
    except BaseException:
        engine.dispose()
        raise
    return engine


def reach_database(url: str) -> sa.Engine:
    """Open the database at `url` as soon as its server answers: for processes that end badly if they can't start.

    Ray Serve gives a deployment up whose constructor failed three times, and `cnserve up` a program.

    Raises:
        WrongDatabase, SchemaMismatch, DatabaseDamaged: As `open_database`.
    """
    while True:
        try:
            return open_database(url)
        except StoreUnavailable as error:
            tell_away(log, error)
        time.sleep(REACH_EVERY_S)


def read_database(url: str) -> sa.Engine:
    """Open the database at `url` to look at it: nothing is made, changed or upgraded; a file may be read-only.

    Raises:
        NoDatabase: There is none.
        SchemaMismatch: The tables are those of another version.
        WrongDatabase, DatabaseDamaged, StoreUnavailable: As `open_database`.
    """
    parsed = require_database(url)
    if parsed.get_backend_name() == "sqlite":
        file = _file(parsed)
        # SQLite makes a file beside one that it reads, too, unless it is told that nobody writes.
        still = not os.access(file.parent, os.W_OK) and not file.with_name(f"{file.name}-wal").exists()
        query = {"mode": "ro", "uri": "true", **({"immutable": "1"} if still else {})}
        parsed = sa.URL.create("sqlite", database=f"file:{quote(str(file))}", query=query)
    engine = _opened(parsed, DatabaseClock())
    try:
        if not agree(engine):
            raise NoDatabase(f"{sa.make_url(url).render_as_string()} has no tables of a platform: run `cnserve up`")
        if engine.dialect.name == "sqlite":
            clock_of(engine).agree(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


def require_database(url: str) -> sa.URL:
    """The URL, in parts, of a database that is there as far as that can be seen without a server.

    Raises:
        NoDatabase: A SQLite file is not there.
        WrongDatabase: As `open_database`.
    """
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite" and not _file(parsed).is_file():
        raise NoDatabase(
            f"There is no platform's data in {_file(parsed).parent}: set CN_DATA_DIR to its folder, or run `cnserve up`"
        )
    return parsed


def _parsed(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError as error:
        raise WrongDatabase("CN_DATABASE is no URL: choose sqlite:///<file> or postgresql://...") from error
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise WrongDatabase(
            f"CN_DATABASE is {parsed.render_as_string()!r}: choose sqlite:///<file> or postgresql://..."
        )
    return parsed


def _file(url: sa.URL) -> Path:
    if not url.database or url.database == ":memory:":
        raise WrongDatabase(
            f"CN_DATABASE is {url.render_as_string()!r}, which is no file: other processes could not see it"
        )
    return Path(url.database)


def _opened(url: sa.URL, clock: DatabaseClock) -> sa.Engine:
    engine = _open_sqlite(url) if url.get_backend_name() == "sqlite" else _open_postgres(url)
    set_clock(engine, clock)
    sa.event.listen(engine, "connect", lambda *_: clock.outdate())
    sa.event.listen(engine, "handle_error", _tell)
    sa.event.listen(engine, "begin", _begin)
    return engine


def apart(engine: sa.Engine) -> sa.Engine:
    """The same database over connections of its own, for what must not wait behind others; to be disposed of, too."""
    return _opened(engine.url, clock_of(engine))


def durable(engine: sa.Engine) -> sa.Engine:
    """The same database, for transactions whose commit must survive a power cut."""
    return _writing(engine, "durable")


def soft(engine: sa.Engine) -> sa.Engine:
    """The same database, for transactions that a power cut makes meaningless anyway."""
    return _writing(engine, "soft")


def repeated(transaction: Callable[P, T]) -> Callable[P, T]:
    """A function that is one transaction, tried again where the database gives that up for another one's sake.

    Rows are locked in one order, so that this is rare; who waits for the answer need not know of it.
    """

    @wraps(transaction)
    def call(*arguments: P.args, **options: P.kwargs) -> T:
        for _ in range(VICTIM_TRIES - 1):
            with suppress(Undone):
                return transaction(*arguments, **options)
        return transaction(*arguments, **options)

    return call


def tell_away(log: logging.Logger, error: BaseException) -> None:
    """Note that the store could not be reached, and why."""
    log.warning("the store is away", extra={"reason": repr(error.__cause__)})


def upsert(connection: sa.Connection, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    """INSERT that can say ON CONFLICT, which each dialect spells in a construct of its own."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)


class _Pool(QueuePool):
    """A pool in which waiting too long for a connection is what it is everywhere else: the store is not reachable."""

    def _do_get(self) -> ConnectionPoolEntry:
        try:
            return super()._do_get()
        except sa.exc.TimeoutError as error:
            raise StoreUnavailable("The store is busy.", retry_after_s=RETRY_AFTER_S) from error


def _open_sqlite(url: sa.URL) -> sa.Engine:
    engine = sa.create_engine(url, poolclass=_Pool, connect_args={"timeout": BUSY_TIMEOUT_S})
    sa.event.listen(engine, "connect", _connected)
    return engine


def _open_postgres(url: sa.URL) -> sa.Engine:
    return sa.create_engine(
        url.set(drivername="postgresql+psycopg"),
        poolclass=_Pool,
        pool_size=5,
        max_overflow=10,
        pool_timeout=BUSY_TIMEOUT_S,
        pool_pre_ping=True,  # the connections of before a restart are replaced, not stumbled over
        isolation_level="AUTOCOMMIT",
        connect_args=POSTGRES_OPTIONS,
    )


def _writing(engine: sa.Engine, kind: Literal["durable", "soft"]) -> sa.Engine:
    if engine.dialect.name == "postgresql":
        return engine.execution_options(cn_write=kind, isolation_level="READ COMMITTED")
    return engine.execution_options(cn_write=kind)


def _begin(connection: sa.Connection) -> None:
    kind: Literal["durable", "soft"] | None = connection.get_execution_options().get("cn_write")
    if connection.dialect.name == "postgresql":
        if kind == "soft":
            connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
        clock_of(connection).measure(connection)
    elif kind is None:
        connection.exec_driver_sql("BEGIN")
    else:
        connection.exec_driver_sql(f"PRAGMA synchronous = {'FULL' if kind == 'durable' else 'NORMAL'}")
        connection.exec_driver_sql("BEGIN IMMEDIATE")


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
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode & 0xFF in _SQLITE_DAMAGED:
                raise damaged(_file(engine.url), error) from error
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.005)
        finally:
            raw.close()


def _tell(context: ExceptionContext) -> None:
    if context.is_pre_ping:
        return  # a connection of before a restart: the pool makes a new one
    if _code(context.original_exception) in _SQLITE_DAMAGED:
        name = "" if context.engine is None else context.engine.url.database or ""
        raise damaged(unquote(name.removeprefix("file:")), context.original_exception) from context.original_exception
    if context.is_disconnect or _transient(context.original_exception):
        kind = Undone if getattr(context.original_exception, "sqlstate", None) in _POSTGRES_VICTIM else StoreUnavailable
        raise kind("The store is not reachable.", retry_after_s=RETRY_AFTER_S) from context.original_exception


def _transient(error: BaseException | None) -> bool:
    if isinstance(error, sqlite3.Error):
        return _code(error) in _SQLITE_TRANSIENT
    import psycopg  # which takes a tenth of a second that a command over SQLite does without

    if isinstance(error, psycopg.Error):
        if error.sqlstate is None:  # libpq's own: no connection
            return isinstance(error, psycopg.OperationalError)
        return error.sqlstate.startswith(_POSTGRES_TRANSIENT)
    return False


def _code(error: BaseException | None) -> int:
    """SQLite's, without what it adds for particulars; 0 of another's error."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
