"""Whose time: one clock for all processes that share a database, which setting a machine's clock does not move.

Leases, locks, deadlines, quotas and expiry are compared between processes. So each counts the seconds since its machine
started, which nobody can set, and adds an offset that all agree on:

- PostgreSQL: to the server's clock. It is measured by a statement on a connection that begins a transaction anyway:
  when the database is opened, once a minute, and after every new connection, so that no transaction pays for it. The
  offset lies between the server's answer less the time after it and less the time before it; one that was measured
  before is moved no further than into these bounds. So it is wrong by half a round trip at most.
- SQLite, whose processes are on one machine: to its wall clock, as the first process after the machine's start found
  it. That one writes the offset down and the others take it, so that setting the wall clock changes nothing until the
  machine starts again.

What others have the clock of (a token's expiry, the timestamp of a webhook's signature) is compared with the wall
clock instead.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa

from serve.jobs.schema import clock as agreed

MEASURE_EVERY_S = 60.0
"""Between measurements of a server's clock: in so long the clocks of two machines drift apart by some milliseconds."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_SINCE_BOOT: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # Linux has it: time asleep counts
_SERVER = "SELECT CAST(extract(epoch FROM clock_timestamp()) AS double precision)"
_AGREED = sa.select(agreed.c.offset).where(agreed.c.boot == sa.bindparam("this"))
_OPTION = "cn_clock"


def since_boot() -> float:
    """Seconds since this machine started, time asleep included; the same in all its processes."""
    return time.clock_gettime(_SINCE_BOOT)


def boot_id() -> str | None:
    """Names this start of this machine; none where it has no such name."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return None


class DatabaseClock:
    """Epoch seconds of a database's time. Until `measure` or `agree`, those of the wall clock at construction.

    Args:
        wall: Epoch seconds of this machine's wall clock.
        ticks: Seconds that only grow: `since_boot`.
        boot: Names the start that `ticks` counts from; without one, processes over SQLite can't agree.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        ticks: Callable[[], float] = since_boot,
        boot: Callable[[], str | None] = boot_id,
    ) -> None:
        self._ticks = ticks
        self._boot = boot()
        self._offset = wall() - ticks()
        self._measured = False
        self._due = -math.inf

    def __call__(self) -> float:
        """Now."""
        return self._ticks() + self._offset

    def outdate(self) -> None:
        """Have the next `measure` ask: the server may be another one now."""
        self._due = -math.inf

    def measure(self, connection: sa.Connection) -> None:
        """Take PostgreSQL's time, if the last measurement is too old.

        Args:
            connection: In use; nothing is begun or ended on it.

        Raises:
            StoreUnavailable: The server does not answer; the time is as it was.
        """
        if self._ticks() < self._due:
            return
        before = self._ticks()
        self._due = before + MEASURE_EVERY_S  # before the question: other threads need not ask, too
        server: float = connection.exec_driver_sql(_SERVER).scalar_one()
        lowest, highest = server - self._ticks(), server - before
        known = self._offset if self._measured else (lowest + highest) / 2
        self._offset = min(max(known, lowest), highest)
        self._measured = True

    def agree(self, reads: sa.Engine, writes: sa.Engine | None = None) -> None:
        """Take the time of the other processes of this machine, or say what it is.

        Args:
            reads: Of a SQLite database.
            writes: Of the same; without, nothing is said.

        Raises:
            StoreUnavailable: It can't be read or written now.
        """
        if self._boot is None:
            return
        this = {"this": self._boot}
        with reads.connect() as connection:
            found: float | None = connection.scalar(_AGREED, this)
        if found is None and writes is not None:
            with writes.begin() as connection:
                found = connection.scalar(_AGREED, this)
                if found is None:
                    found = self._offset
                    connection.execute(sa.delete(agreed))  # of earlier starts
                    connection.execute(sa.insert(agreed).values(boot=self._boot, offset=found))
        if found is not None:
            self._offset = found


def until(now: float, ttl_s: float) -> float:
    """When what lasts `ttl_s` seconds from now ends; of 0 s long ago, so that it is over for clocks behind, too."""
    return now + ttl_s if ttl_s > 0 else 0.0


def set_clock(engine: sa.Engine, clock: DatabaseClock) -> None:
    """Give a database its clock."""
    engine.update_execution_options(**{_OPTION: clock})


def clock_of(engine: sa.Engine | sa.Connection) -> DatabaseClock:
    """The clock of a database that `open_database` or `read_database` opened."""
    found: DatabaseClock = engine.get_execution_options()[_OPTION]
    return found
