from __future__ import annotations

import asyncio
import sqlite3
import uuid
from collections.abc import Iterator

import pytest

from serve.jobs.signals import SqliteSignals


@pytest.fixture
def signals(engine, store) -> Iterator[SqliteSignals]:
    signals = SqliteSignals(engine)
    yield signals
    signals.close()


def change(store) -> None:
    assert store.take_lock(str(uuid.uuid4()), "me", 1)  # a new row: SQLite does not count a write that changes no byte


async def let_run() -> None:
    """Give other tasks a turn; the poller's timer needs more than that."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_change_by_another_connection_wakes(signals, store):
    waiting = asyncio.create_task(signals.changed(signals.generation))
    await let_run()
    assert not waiting.done()
    change(store)
    assert await waiting


async def test_one_change_wakes_everyone(signals, store):
    waiting = [asyncio.create_task(signals.changed(signals.generation)) for _ in range(20)]
    await let_run()
    change(store)
    assert await asyncio.gather(*waiting) == [True] * 20


async def test_a_change_between_the_look_and_the_wait_is_not_lost(signals, store):
    seen = signals.generation
    change(store)
    assert await signals.changed(seen, timeout=0)


async def test_a_change_noticed_for_someone_else_is_not_lost(signals, store):
    seen = signals.generation
    change(store)
    assert await signals.changed(seen)
    assert await signals.changed(seen, timeout=0)


async def test_without_a_change_the_wait_ends_at_its_timeout(signals):
    assert not await signals.changed(signals.generation, timeout=0)


async def test_nothing_is_polled_while_nobody_waits(signals, store):
    assert signals._timer is None
    await signals.changed(signals.generation, timeout=0.02)
    await asyncio.sleep(0.02)
    assert signals._timer is None


async def test_a_cancelled_wait_leaves_no_waiter(signals):
    waiting = asyncio.create_task(signals.changed(signals.generation))
    await let_run()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not signals._waiters


async def test_changes_looks_at_once_and_after_every_change(signals, store):
    changes = signals.changes()
    await anext(changes)
    for _ in range(3):
        change(store)
        await anext(changes)
    waiting = asyncio.ensure_future(anext(changes))
    await let_run()
    assert not waiting.done()
    change(store)
    await waiting
    await changes.aclose()


async def test_changes_looks_now_and_then_without_a_change(signals):
    changes = signals.changes(every=0)
    for _ in range(3):
        await anext(changes)
    await changes.aclose()


async def test_a_waiter_sees_the_job_end(signals, store, spec, model):
    job = store.submit("demo", spec, model)

    async def end() -> str:
        async for _ in signals.changes():
            found = store.get(job.id)
            if found.terminal:
                return found.state
        raise AssertionError

    waiting = asyncio.create_task(end())
    await let_run()
    (lease,) = store.claim("a", 30, 1)
    store.cancelled(lease)
    assert await waiting == "cancelled"


async def test_a_poller_that_breaks_wakes_its_waiters_with_the_error(signals):
    waiting = asyncio.create_task(signals.changed(signals.generation))
    await let_run()
    signals._connection.close()
    with pytest.raises(sqlite3.ProgrammingError):
        await waiting


async def test_closing_wakes_the_waiters(signals):
    waiting = asyncio.create_task(signals.changed(signals.generation))
    await let_run()
    signals.close()
    with pytest.raises(RuntimeError, match="closed"):
        await waiting
