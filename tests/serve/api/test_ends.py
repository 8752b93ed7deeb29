"""Many clients wait, and the store is looked at for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest

from serve.api import ends as module
from serve.api.ends import Ends
from serve.jobs.database import StoreUnavailable


class Store:
    """Remembers what it was asked."""

    def __init__(self) -> None:
        self.over: set[str] = set()
        self.asked: list[set[str]] = []
        self.away = 0

    def ended(self, job_ids: Collection[str]) -> dict[str, None]:
        self.asked.append(set(job_ids))
        if self.away:
            self.away -= 1
            raise StoreUnavailable("away", retry_after_s=1.0)
        return dict.fromkeys(self.over & set(job_ids))


class Signals:
    """Change when a test says so."""

    def __init__(self) -> None:
        self.generation = 0
        self.error: Exception | None = None
        self._moved = asyncio.Condition()

    async def change(self) -> None:
        async with self._moved:
            self.generation += 1
            self._moved.notify_all()

    async def changed(self, seen: int, timeout: float | None = None) -> bool:
        async with self._moved:
            await self._moved.wait_for(lambda: self.generation != seen)
        if self.error is not None:
            raise self.error
        return True


async def until(true) -> None:
    while not true():
        await asyncio.sleep(0)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def signals() -> Signals:
    return Signals()


@pytest.fixture
def ends(store, signals) -> Ends:
    return Ends(store, signals)


async def test_one_look_serves_all_who_wait(ends, store, signals):
    waits = [asyncio.create_task(ends.of(f"job_{i % 50}")) for i in range(100)]
    await until(lambda: store.asked)
    store.asked.clear()
    store.over = {f"job_{i}" for i in range(50)}
    await signals.change()
    await asyncio.gather(*waits)
    assert store.asked == [{f"job_{i}" for i in range(50)}]


async def test_who_comes_later_is_looked_for_at_once(ends, store):
    first = asyncio.create_task(ends.of("job_a"))
    await until(lambda: store.asked == [{"job_a"}])
    store.over = {"job_b"}
    await ends.of("job_b")
    assert not first.done()
    first.cancel()


async def test_nobody_is_forgotten_while_the_store_is_away(ends, store, monkeypatch):
    monkeypatch.setattr(module, "STORE_BACK_S", 0.0)
    store.away, store.over = 3, {"job_a"}
    await ends.of("job_a")
    assert len(store.asked) == 4


async def test_who_has_gone_is_not_asked_for_again(ends, store, signals):
    gone, stays = asyncio.create_task(ends.of("job_a")), asyncio.create_task(ends.of("job_b"))
    await until(lambda: store.asked)
    gone.cancel()
    await asyncio.wait({gone})
    store.over = {"job_b"}
    await signals.change()
    await stays
    assert store.asked[-1] == {"job_b"}


async def test_the_end_of_the_signals_is_told_to_all(ends, store, signals):
    waits = [asyncio.create_task(ends.of(f"job_{i}")) for i in range(3)]
    await until(lambda: store.asked)
    signals.error = RuntimeError("signals are closed")
    await signals.change()
    done = await asyncio.gather(*waits, return_exceptions=True)
    assert [str(error) for error in done] == ["signals are closed"] * 3
