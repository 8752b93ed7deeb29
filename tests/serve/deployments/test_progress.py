"""How far jobs are, gathered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from serve.deployments import progress as module
from serve.deployments.progress import ProgressWriter

GATHER_FOR = 0.01


@dataclass(frozen=True)
class Job:
    id: str


@dataclass(frozen=True)
class Held:
    job: Job
    fence: int = 1


A, B = Held(Job("a")), Held(Job("b"))


class Writes:
    """A store that writes when it is let."""

    def __init__(self) -> None:
        self.written: list[list[tuple[Any, Any]]] = []
        self.allowed = asyncio.Event()
        self.writer = ProgressWriter(self, self.ask)  # type: ignore[arg-type]

    def progress(self, steps: list[tuple[Any, Any]]) -> None:
        self.written.append(steps)

    async def ask(self, call: Callable[..., object], *arguments: object) -> None:
        await self.allowed.wait()
        call(*arguments)

    @contextmanager
    def running(self) -> Iterator[ProgressWriter]:
        task = asyncio.create_task(self.writer.loop())
        yield self.writer
        task.cancel()

    async def until(self, count: int) -> None:
        self.allowed.set()
        async with asyncio.timeout(10):
            while len(self.written) < count:
                await asyncio.sleep(0.001)


@pytest.fixture
async def writes(monkeypatch: pytest.MonkeyPatch) -> Writes:
    monkeypatch.setattr(module, "GATHER_FOR", GATHER_FOR)
    return Writes()


async def test_the_latest_of_all_jobs_is_one_write(writes: Writes) -> None:
    with writes.running() as writer:
        for step in range(3):
            writer.give(A, {"steps": [step]})  # type: ignore[arg-type]
        writer.give(B, {"steps": [7]})  # type: ignore[arg-type]
        await writes.until(1)
        assert writes.written == [[(A, {"steps": [2]}), (B, {"steps": [7]})]]


async def test_what_comes_during_a_write_is_the_next_one(writes: Writes) -> None:
    with writes.running() as writer:
        writer.give(A, {"steps": [1]})  # type: ignore[arg-type]
        await asyncio.sleep(10 * GATHER_FOR)
        writer.give(A, {"steps": [2]})  # type: ignore[arg-type]
        writer.give(A, {"steps": [3]})  # type: ignore[arg-type]
        await writes.until(2)
        assert writes.written == [[(A, {"steps": [1]})], [(A, {"steps": [3]})]]


async def test_of_a_job_that_ended_nothing_is_written(writes: Writes) -> None:
    with writes.running() as writer:
        writer.give(A, {"steps": [1]})  # type: ignore[arg-type]
        writer.drop(A)  # type: ignore[arg-type]
        writer.drop(B)  # type: ignore[arg-type]
        await asyncio.sleep(10 * GATHER_FOR)
        writer.give(B, {"steps": [1]})  # type: ignore[arg-type]
        await writes.until(1)
        assert writes.written == [[(B, {"steps": [1]})]]
