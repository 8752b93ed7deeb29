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
from typing import Any

import sqlalchemy as sa

from serve.jobs.database import POSTGRES_OPTIONS

log = logging.getLogger(__name__)

POLL_S = 0.010
"""Seconds between looks at a SQLite database's version while somebody waits."""

BRISK_S, LIVELY_S = 0.002, 1.0
"""The same, for so long after two changes that came within that time: of one that came alone, as a lock that is kept,
nothing follows."""

RECONNECT_S = (0.1, 2.0)
"""Seconds between tries to reach a PostgreSQL server that is away: at first, at most."""

_CHANNEL = "serve_jobs"


class Signals(ABC):
    """Wakes whoever waits for the store, across processes; for one event loop."""

    def __init__(self) -> None:
        self._generation = 0
        self._waiters: set[asyncio.Future[None]] = set()

    @property
    def generation(self) -> int:
        """Grows with every change noticed; read it *before* looking at the store."""
        return self._generation

    async def changed(self, generation: int, timeout: float | None = None) -> bool:
        """Wait for a change after `generation`; False after `timeout` seconds without one."""
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

    @abstractmethod
    def close(self) -> None:
        """Stop watching; whoever still waits gets a `RuntimeError`."""

    @abstractmethod
    def _watch(self) -> None:
        """See to it that changes from now on are noticed, and those since the last look as well."""

    def _change(self) -> None:
        self._generation += 1
        self._wake()

    def _wake(self, error: Exception | None = None) -> None:
        for waiter in self._waiters:
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)


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
    """`PRAGMA data_version`, read every few milliseconds for all waiters of this process.

    SQLite counts, per connection, the commits made by *other* connections, whichever process they are in. So the
    poller owns a connection that never writes. A look costs some microseconds (a comparison in shared memory), less
    than a hop to a thread, so it is made on the event loop; nothing is polled while nobody waits.

    Args:
        engine: Names the database file; its pool is not used.
    """

    def __init__(self, engine: sa.Engine) -> None:
        super().__init__()
        self._connection = sqlite3.connect(
            str(engine.url.database), isolation_level=None, timeout=0, check_same_thread=False
        )
        self._version = 0
        self._brisk_until = self._changed_at = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        self._poll()

    def close(self) -> None:
        """Stop polling; whoever still waits gets a `RuntimeError`."""
        self._wake(RuntimeError("signals are closed"))
        if self._timer is not None:
            self._timer.cancel()
        self._connection.close()

    def _watch(self) -> None:
        if self._timer is None:  # nobody looked for a while
            self._poll()
            pause = BRISK_S if time.monotonic() < self._brisk_until else POLL_S
            self._timer = asyncio.get_running_loop().call_later(pause, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if not self._waiters:
            return
        try:
            self._watch()
        except sqlite3.Error as error:  # a poller that dies in silence would leave everyone waiting
            self._wake(error)

    def _poll(self) -> None:
        try:
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            return  # the log is being recovered or reset: look again at the next tick
        if version != self._version:
            now = time.monotonic()
            if now - self._changed_at < LIVELY_S:
                self._brisk_until = now + LIVELY_S
            self._version, self._changed_at = version, now
            self._change()


class PostgresSignals(Signals):
    """LISTEN, on a connection of its own for all waiters of this process, from the first wait on.

    What happened while nobody listened is not known, so everybody is woken when the connection is made: at first, and
    again after the server was away.

    Args:
        engine: Names the database; its pool is not used.
    """

    def __init__(self, engine: sa.Engine) -> None:
        super().__init__()
        self._address: dict[str, Any] = {**engine.dialect.create_connect_args(engine.url)[1], **POSTGRES_OPTIONS}
        self._task: asyncio.Task[None] | None = None

    def close(self) -> None:
        """Stop listening; whoever still waits gets a `RuntimeError`."""
        self._wake(RuntimeError("signals are closed"))
        if self._task is not None:
            self._task.cancel()

    def _watch(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._listen(), name="signals")
        elif self._task.done():
            self._task.result()  # a listener that died in silence would leave everyone waiting

    async def _listen(self) -> None:
        import psycopg  # here, as in `serve.jobs.database`

        pause, longest = RECONNECT_S
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(**self._address, autocommit=True) as connection:
                    await connection.execute(f"LISTEN {_CHANNEL}")
                    pause = RECONNECT_S[0]
                    self._change()
                    async for _ in connection.notifies():
                        self._change()
            except psycopg.OperationalError as error:
                log.warning("the database's signals are cut off: %s", error)
            except Exception as error:
                self._wake(error)
                raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)
