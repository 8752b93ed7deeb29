from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest

from ops.services import Postgres
from serve.jobs import signals as module
from serve.jobs.database import open_database
from serve.jobs.signals import PostgresSignals, Signals, SqliteSignals, open_signals
from serve.jobs.store import JobResult, JobStore, ServedModel, StoredImage


@pytest.fixture
async def signals(engine, store) -> AsyncIterator[Signals]:
    """Watching: the first wake-up of a listener, which tells of whatever came before it, is over."""
    signals = open_signals(engine)
    if isinstance(signals, PostgresSignals):
        assert await signals.changed(signals.generation)
    yield signals
    await close(signals)


async def close(signals: Signals) -> None:
    """Close signals, and see a listener's connection end with it, not with the loop."""
    signals.close()
    if isinstance(signals, PostgresSignals) and signals._task is not None:
        await asyncio.wait({signals._task})


@pytest.fixture
def change(store, spec, model):
    def change() -> None:
        store.submit("demo", spec, model)

    return change


async def let_run() -> None:
    """Give other tasks a turn; the poller's timer needs more than that."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_change_by_another_connection_wakes(signals, change):
    waiting = asyncio.create_task(signals.changed(signals.generation))
    await let_run()
    assert not waiting.done()
    change()
    assert await waiting


async def test_one_change_wakes_everyone(signals, change):
    waiting = [asyncio.create_task(signals.changed(signals.generation)) for _ in range(20)]
    await let_run()
    change()
    assert await asyncio.gather(*waiting) == [True] * 20


async def test_a_change_between_the_look_and_the_wait_is_not_lost(signals, change):
    seen = signals.generation
    change()
    assert await signals.changed(seen)


async def test_a_change_noticed_for_someone_else_is_not_lost(signals, change):
    seen = signals.generation
    change()
    assert await signals.changed(seen)
    assert await signals.changed(seen, timeout=0)


async def test_without_a_change_the_wait_ends_at_its_timeout(signals):
    assert not await signals.changed(signals.generation, timeout=0)


async def test_a_cancelled_wait_leaves_no_waiter(signals):
    waiting = asyncio.create_task(signals.changed(signals.generation))
    await let_run()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not signals._waiters


async def test_changes_looks_at_once_and_after_every_change(signals, change):
    changes = signals.changes()
    await anext(changes)
    for _ in range(3):
        change()
        await anext(changes)
    waiting = asyncio.ensure_future(anext(changes))
    await let_run()
    assert not waiting.done()
    change()
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


WHAT_A_WAITER_CARES_ABOUT = {
    "claimed": lambda store, lease: store.claim("b", 30, 1),
    "progress": lambda store, lease: store.progress([(lease, {"step": 1})]),
    "image": lambda store, lease: store.image_done(lease, 0, StoredImage("demo/aa/b.png", 7, 8, 8)),
    "succeeded": lambda store, lease: store.succeed(lease, JobResult(())),
    "failed": lambda store, lease: store.fail(lease, {"type": "internal"}),
    "retried": lambda store, lease: store.retry(lease, {"type": "internal"}),
    "stop asked": lambda store, lease: store.request_cancel(lease.job.id, "demo"),
    "cancelled": lambda store, lease: store.cancelled(lease),
    "promoted": lambda store, lease: store.set_serving(ServedModel("demo", "4", "sha256:bb", {}, "models:/demo/4")),
}


@pytest.mark.parametrize("what", WHAT_A_WAITER_CARES_ABOUT)
async def test_what_a_waiter_cares_about_wakes_it(engine, store, spec, model, what):
    for _ in range(2):
        store.submit("demo", spec, model)
    (lease,) = store.claim("a", 30, 1)
    signals = open_signals(engine)
    await signals.changed(signals.generation, timeout=0 if engine.dialect.name == "sqlite" else None)
    waiting = asyncio.create_task(signals.changed(signals.generation))
    await let_run()
    assert not waiting.done()
    WHAT_A_WAITER_CARES_ABOUT[what](store, lease)
    assert await waiting
    await close(signals)


async def test_closing_wakes_the_waiters(signals):
    waiting = asyncio.create_task(signals.changed(signals.generation))
    await let_run()
    signals.close()
    with pytest.raises(RuntimeError, match="closed"):
        await waiting


# SQLite's poller


@pytest.fixture
def poller(folder) -> Iterator[SqliteSignals]:
    engine = open_database(f"sqlite:///{folder / 'polled.db'}")
    signals = SqliteSignals(engine)
    yield signals
    signals.close()
    engine.dispose()


async def test_nothing_is_polled_while_nobody_waits(poller):
    assert poller._timer is None
    await poller.changed(poller.generation, timeout=0)
    while poller._timer is not None:
        await asyncio.sleep(0.001)


def change_another(folder) -> None:
    with contextlib.closing(sqlite3.connect(folder / "polled.db")) as other:
        other.execute("CREATE TABLE written (x)")


async def test_a_write_is_told_of_and_not_waited_for(poller, folder, monkeypatch):
    monkeypatch.setattr(module, "REST_S", 3600.0)
    waiting = asyncio.create_task(poller.changed(poller.generation))
    await let_run()
    poller._next_s = 3600.0
    poller._timer.cancel()
    poller._tick()  # the next look by itself is an hour away
    change_another(folder)
    assert await waiting


async def test_a_write_that_nobody_waited_for_yet_is_looked_for_soon(poller, folder):
    """It is told of before its commit is seen: who comes in between must not rest."""
    await poller.changed(poller.generation, timeout=0)
    poller._timer.cancel()
    poller._timer, poller._next_s = None, 3600.0
    change_another(folder)
    while poller._next_s > 1:
        await asyncio.sleep(0.001)


async def test_where_writes_are_not_told_of_the_database_is_looked_at(poller, folder, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError("no more watches")

    monkeypatch.setattr(module, "Written", refuse)
    waiting = asyncio.create_task(poller.changed(poller.generation))
    await let_run()
    assert poller._timer.when() - asyncio.get_running_loop().time() <= module.BLIND_REST_S
    change_another(folder)
    assert await waiting


async def test_a_poller_whose_connection_breaks_hears_the_next_change(poller, folder, monkeypatch):
    monkeypatch.setattr(module, "RECONNECT_S", (0.001, 0.001))
    poller._pause = 0.001
    await poller.changed(poller.generation, timeout=0)
    poller._connection.close()
    assert await poller.changed(poller.generation)  # which were missed is not known
    waiting = asyncio.create_task(poller.changed(poller.generation))
    await let_run()
    change_another(folder)
    assert await waiting


async def test_a_file_that_is_away_for_a_while_is_found_again_though_nobody_waits(poller, folder):
    poller._pause = 0.001
    poller._connection.close()
    (folder / "polled.db").rename(folder / "away.db")
    assert not await poller.changed(poller.generation, timeout=0)
    assert poller.cut_off_s > 0
    assert not (folder / "polled.db").exists()
    (folder / "away.db").rename(folder / "polled.db")
    while poller.cut_off_s:
        await asyncio.sleep(0.001)


# PostgreSQL's listener


async def test_a_restart_of_the_server_wakes_everybody(postgres: Postgres):
    engine = open_database(postgres.url())
    signals = PostgresSignals(engine)
    await signals.changed(signals.generation)
    waiting = [asyncio.create_task(signals.changed(signals.generation)) for _ in range(3)]
    await let_run()
    postgres.stop()
    postgres.start()
    assert await asyncio.gather(*waiting) == [True] * 3
    await close(signals)
    engine.dispose()


async def test_changes_are_heard_again_after_a_crash_of_the_server(postgres: Postgres, model):
    engine = open_database(postgres.url())
    signals = PostgresSignals(engine)
    await signals.changed(signals.generation)
    seen = signals.generation
    postgres.stop(crash=True)
    postgres.start()
    await signals.changed(seen)
    waiting = asyncio.create_task(signals.changed(signals.generation))
    await let_run()
    JobStore(engine).set_serving(model)
    assert await waiting
    await close(signals)
    engine.dispose()


async def test_changes_are_heard_again_after_a_failover(postgres: Postgres, model, caplog):
    """The server is a standby for a while, which refuses LISTEN, and then the primary."""
    engine = open_database(postgres.url())
    signals = PostgresSignals(engine)
    await signals.changed(signals.generation)
    seen = signals.generation
    postgres.stop()
    postgres.start(standby=True)
    while "LISTEN during recovery" not in caplog.text:
        await asyncio.sleep(0.01)
    assert not await signals.changed(seen, timeout=0)
    assert signals.cut_off_s > 0
    postgres.promote()
    assert await signals.changed(seen)
    assert signals.cut_off_s == 0
    waiting = asyncio.create_task(signals.changed(signals.generation))
    await let_run()
    JobStore(engine).set_serving(model)
    assert await waiting
    await close(signals)
    engine.dispose()


@pytest.mark.parametrize("error", [psycopg.ProgrammingError("no such option"), OSError("no such host")])
async def test_no_error_ends_a_listener(postgres: Postgres, monkeypatch, error):
    engine = open_database(postgres.url())
    connect, errors = psycopg.AsyncConnection.connect, [error, error]

    async def broken(*arguments: object, **options: object) -> object:
        if errors:
            raise errors.pop()
        return await connect(*arguments, **options)

    monkeypatch.setattr(psycopg.AsyncConnection, "connect", broken)
    signals = PostgresSignals(engine)
    signals._pause = 0.001
    assert await signals.changed(signals.generation)
    assert errors == []
    await close(signals)
    engine.dispose()


async def test_a_listener_that_hears_nothing_is_cut_off(postgres: Postgres, monkeypatch, caplog):
    """As behind a pooler in transaction mode: here because NOTIFY goes to another database of the server."""
    engine = open_database(postgres.url())
    connect, databases = psycopg.AsyncConnection.connect, ["postgres", "template1"]

    async def elsewhere(*arguments: object, **options: object) -> object:
        name = databases.pop(0) if databases else "postgres"
        return await connect(*arguments, **{**options, "dbname": name})

    monkeypatch.setattr(psycopg.AsyncConnection, "connect", elsewhere)
    monkeypatch.setattr(module, "HEARD_WITHIN_S", 0.05)
    signals = PostgresSignals(engine)
    seen = signals.generation
    while not signals.cut_off_s:
        assert not await signals.changed(seen, timeout=0.01)
    assert "a pooler in session mode" in caplog.text
    monkeypatch.undo()
    assert await signals.changed(seen)
    await close(signals)
    engine.dispose()


async def test_a_listener_that_is_stopped_closes_its_connection_at_once(postgres: Postgres, monkeypatch):
    connect, made = psycopg.AsyncConnection.connect, []

    async def kept(*arguments: object, **options: object) -> object:
        made.append(await connect(*arguments, **options))
        return made[-1]

    async def never(connection: object) -> None:
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(psycopg.AsyncConnection, "connect", kept)
    engine = open_database(postgres.url())
    signals = PostgresSignals(engine)
    assert await signals.changed(signals.generation)
    monkeypatch.setattr(psycopg.AsyncConnection, "rollback", never)
    await close(signals)
    assert [connection.closed for connection in made] == [True, True]
    engine.dispose()


async def test_who_waits_after_the_end_is_told(signals):
    signals.close()
    with pytest.raises(RuntimeError, match="closed"):
        await signals.changed(signals.generation)
