"""Something in the store changed: look again.

A signal says *that*, never *what*; whoever waits reads the row again. The loop to write is

    async for _ in signals.changes():
        job = store.get(job_id)
        if job.terminal:
            return job

which looks once at once and then after every change. A change between the look and the wait is not lost: the wait is
for "anything newer than what I had seen before I looked". A wake-up for nothing is possible and costs one look.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import sqlalchemy as sa

from serve.jobs.database import POSTGRES_OPTIONS
from serve.jobs.written import Written

if TYPE_CHECKING:
    import psycopg

log = logging.getLogger(__name__)

BRISK_S = 0.002
"""Seconds until the first look at a SQLite database's version after it was written, which precedes the commit's end.
Each further look is twice as far away."""

REST_S, BLIND_REST_S = 1.0, 0.010
"""Seconds between looks, at most, while somebody waits: where the system tells of writes, and where it does not."""

RECONNECT_S = (0.1, 2.0)
"""Seconds between tries to watch a database that can't be watched: at first, at most."""

HEARD_WITHIN_S = 5.0
"""Seconds in which a PostgreSQL listener must hear a NOTIFY of its own."""

_CHANNEL = "serve_jobs"


class Signals(ABC):
    """Wakes whoever waits for the store, across processes; for one event loop."""

    def __init__(self) -> None:
        self._generation = 0
        self._waiters: set[asyncio.Future[None]] = set()
        self._closed = False
        self._cut_off_at: float | None = None
        self._pause = RECONNECT_S[0]

    @property
    def generation(self) -> int:
        """Grows with every change noticed; read it *before* looking at the store."""
        return self._generation

    @property
    def cut_off_s(self) -> float:
        """Seconds for which changes have not been noticed because of an error; 0 while they are, or nobody waited."""
        return 0.0 if self._cut_off_at is None else time.monotonic() - self._cut_off_at

    async def changed(self, generation: int, timeout: float | None = None) -> bool:
        """Wait for a change after `generation`; False after `timeout` seconds without one.

        Raises:
            RuntimeError: `close` was called.
        """
        if self._closed:
            raise _closed()
        self._watch()
        if generation != self._generation:
            return True
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await asyncio.wait({waiter}, timeout=timeout)
            if waiter.done():
                waiter.result()
            return waiter.done()
        finally:
            self._waiters.discard(waiter)

    async def changes(self, every: float | None = None) -> AsyncIterator[None]:
        """Yield at once, then after each change, and at least every `every` seconds."""
        while True:
            seen = self._generation
            yield
            await self.changed(seen, every)

    def close(self) -> None:
        """Stop watching; whoever waits, now or later, gets a `RuntimeError`."""
        self._closed = True
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(_closed())
        self._stop()

    @abstractmethod
    def _stop(self) -> None:
        """Let go of the database."""

    @abstractmethod
    def _watch(self) -> None:
        """See to it that changes from now on are noticed, and those since the last look as well."""

    def _change(self) -> None:
        self._generation += 1
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _lost(self, error: Exception) -> float:
        """Changes are not noticed any more; seconds until the next try."""
        if self._cut_off_at is None:
            self._cut_off_at = time.monotonic()
        log.warning("the database's signals are cut off: %r", error)
        pause, self._pause = self._pause, min(2 * self._pause, RECONNECT_S[1])
        return pause

    def _found(self) -> None:
        """Changes are noticed from now on; which were missed is not known, so everybody is woken."""
        self._cut_off_at, self._pause = None, RECONNECT_S[0]
        self._change()


def _closed() -> RuntimeError:
    return RuntimeError("signals are closed")


async def first(*waits: Coroutine[Any, Any, object]) -> None:
    """Wait until one of these ends, and give the others up; raises what that one raises."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()


def open_signals(engine: sa.Engine) -> Signals:
    """The signals of a database."""
    return PostgresSignals(engine) if engine.dialect.name == "postgresql" else SqliteSignals(engine)


def notify(connection: sa.Connection) -> None:
    """Wake all waiters when this transaction commits; SQLite tells of every commit by itself."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"NOTIFY {_CHANNEL}")


class SqliteSignals(Signals):
    """`PRAGMA data_version`, read after writes to the database's files, for all waiters of this process.

    SQLite counts, per connection, the commits made by *other* connections, whichever process they are in. So the
    poller owns a connection that never writes. A look costs some microseconds (a comparison in shared memory), less
    than a hop to a thread, so it is made on the event loop; nothing is polled while nobody waits.

    A commit is first written and then, perhaps after the disk has taken it, seen. So a write is followed by looks at
    growing distances. One now and then comes besides: the system may not tell of all writes.

    Args:
        engine: Names the database file; its pool is not used.
    """

    def __init__(self, engine: sa.Engine) -> None:
        super().__init__()
        self._database = Path(str(engine.url.database)).absolute()
        # A file that is away must not be made anew, empty, by whoever only looks.
        self._file = f"file:{quote(str(engine.url.database))}?mode=rw"
        self._connection: sqlite3.Connection | None = None
        self._version = 0
        self._next_s = BRISK_S
        self._timer: asyncio.TimerHandle | None = None
        self._written: Written | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._poll()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._written is not None:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.remove_reader(self._written)
            self._written.close()
            self._written = None
        self._disconnect()

    def _watch(self) -> None:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._hear(self._loop)
        if self._timer is None:  # nobody looked for a while
            self._timer = self._loop.call_later(self._poll(), self._tick)

    def _hear(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have the system tell of writes, where it can."""
        names = frozenset({self._database.name, f"{self._database.name}-wal"})
        try:
            self._written = Written(self._database.parent, names)
        except OSError as error:
            log.info("writes are not told of, so the database is looked at every %s s: %s", BLIND_REST_S, error)
            return
        loop.add_reader(self._written, self._hear_of)

    def _hear_of(self) -> None:
        if self._written is not None and self._written.read():
            self._next_s = BRISK_S
            if self._timer is not None:
                self._timer.cancel()
                self._tick()

    def _tick(self) -> None:
        self._timer = None
        if self._waiters or self._cut_off_at is not None:
            self._watch()

    def _poll(self) -> float:
        """Look once; seconds until the next look."""
        try:
            version = self._read()
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
                return BLIND_REST_S  # the log is being recovered or reset
            self._disconnect()
            return self._lost(error)
        if self._cut_off_at is not None:  # a new connection counts anew
            self._found()
        elif version != self._version:
            self._next_s = BRISK_S  # another commit may have been written before this one was seen
            self._change()
        self._version = version
        pause, self._next_s = self._next_s, 2 * self._next_s
        return min(pause, BLIND_REST_S if self._written is None else REST_S)

    def _read(self) -> int:
        if self._connection is None:
            self._connection = sqlite3.connect(
                self._file, uri=True, isolation_level=None, timeout=0, check_same_thread=False
            )
        version: int
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        return version

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class PostgresSignals(Signals):
    """LISTEN, on a connection of its own for all waiters of this process, from the first wait on.

    What happened while nobody listened is not known, so everybody is woken when the connection is made: at first, and
    again after the server was away, or was a standby for a while.

    Args:
        engine: Names the database; its pool is not used.
    """

    def __init__(self, engine: sa.Engine) -> None:
        super().__init__()
        self._address: dict[str, Any] = {**engine.dialect.create_connect_args(engine.url)[1], **POSTGRES_OPTIONS}
        self._task: asyncio.Task[None] | None = None

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _watch(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._listen(), name="signals")

    async def _listen(self) -> None:
        while True:
            try:
                async with self._connection() as connection:
                    await connection.execute(f"LISTEN {_CHANNEL}")
                    await self._check(connection)
                    self._found()
                    async for _ in connection.notifies():
                        self._change()
                raise ConnectionError("the connection was closed")
            except Exception as error:  # whatever it is: who waits has no other listener
                pause = self._lost(error)
            await asyncio.sleep(pause)

    async def _check(self, connection: psycopg.AsyncConnection) -> None:
        """See that what another connection tells arrives.

        Behind a pooler that gives a connection away after each transaction, LISTEN succeeds and nothing is ever heard.
        """
        async with self._connection() as other:
            await other.execute(f"NOTIFY {_CHANNEL}")
        if not [notice async for notice in connection.notifies(timeout=HEARD_WITHIN_S, stop_after=1)]:
            raise ConnectionError(
                "a NOTIFY did not arrive: CN_DATABASE must name the server itself, or a pooler in session mode"
            )

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[psycopg.AsyncConnection]:
        """A connection for a block.

        Its own block would roll back first, which waits, so that a second cancellation would leave it open.
        """
        import psycopg  # here, as in `serve.jobs.database`

        connection = await psycopg.AsyncConnection.connect(**self._address, autocommit=True)
        try:
            yield connection
        finally:
            await connection.close()
