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
import sqlite3
from collections.abc import AsyncIterator
from typing import Protocol

import sqlalchemy as sa

POLL_S = 0.010
"""Seconds between looks at the database's version while somebody waits."""


class Signals(Protocol):
    """Wakes whoever waits for the store, across processes."""

    @property
    def generation(self) -> int:
        """Grows with every change noticed; read it *before* looking at the store."""
        ...

    async def changed(self, generation: int, timeout: float | None = None) -> bool:
        """Wait for a change after `generation`; False after `timeout` seconds without one."""
        ...

    def changes(self, every: float | None = None) -> AsyncIterator[None]:
        """Yield at once, then after each change, and at least every `every` seconds."""
        ...


def open_signals(engine: sa.Engine) -> SqliteSignals:
    """The signals of a database; PostgreSQL's, by LISTEN and NOTIFY, come with its store.

    Raises:
        ValueError: No signals are known for this kind of database.
    """
    if engine.dialect.name != "sqlite":
        raise ValueError(f"no signals for a {engine.dialect.name} database; there are for sqlite")
    return SqliteSignals(engine)


class SqliteSignals:
    """`PRAGMA data_version`, read every 10 ms for all waiters of this process.

    SQLite counts, per connection, the commits made by *other* connections, whichever process they are in. So the
    poller owns a connection that never writes. A look costs some microseconds (a comparison in shared memory), less
    than a hop to a thread, so it is made on the event loop; nothing is polled while nobody waits.

    Args:
        engine: Names the database file; its pool is not used.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._connection = sqlite3.connect(
            str(engine.url.database), isolation_level=None, timeout=0, check_same_thread=False
        )
        self._version = 0
        self._generation = 0
        self._waiters: set[asyncio.Future[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._poll()

    @property
    def generation(self) -> int:
        """Grows with every change noticed; read it *before* looking at the store."""
        return self._generation

    async def changed(self, generation: int, timeout: float | None = None) -> bool:
        """Wait for a change after `generation`; False after `timeout` seconds without one."""
        if self._timer is None:
            self._poll()  # nobody looked for a while: what happened since `generation` was read counts
        if generation != self._generation:
            return True
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        self._schedule()
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
        """Stop polling; whoever still waits gets a `RuntimeError`."""
        self._wake(RuntimeError("signals are closed"))
        if self._timer is not None:
            self._timer.cancel()
        self._connection.close()

    def _schedule(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(POLL_S, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if not self._waiters:
            return
        try:
            self._poll()
        except sqlite3.Error as error:  # a poller that dies in silence would leave everyone waiting
            self._wake(error)
        else:
            self._schedule()

    def _poll(self) -> None:
        try:
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            return  # the log is being recovered or reset: look again at the next tick
        if version != self._version:
            self._version = version
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
