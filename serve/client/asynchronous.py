"""The client that awaits. A test holds its methods equal to those of `Client`, where they are described."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
import warnings
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import TypeVar, Unpack

import httpx

from serve.client import calls
from serve.client.archive import unpack
from serve.client.bar import Watcher, watching
from serve.client.calls import Call, Control, Parameters, new_key, standing_headers
from serve.client.events import Ended, Event, Feed
from serve.client.job import Job, Map, State
from serve.client.pictures import Picture
from serve.client.problems import ResultWarning, StreamBroken
from serve.client.retries import Outcome, Retries

T = TypeVar("T")


class AsyncClient:
    """`Client` for asyncio. Files are read and written in threads."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        retries: Retries | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        luck: Callable[[], float] = random.random,
        new_key: Callable[[], str] = new_key,
    ) -> None:
        self._http = httpx.AsyncClient(base_url=url, headers=standing_headers(url, key), transport=transport)
        self._retries = retries or Retries()
        self._sleep = sleep
        self._clock = clock
        self._luck = luck
        self._new_key = new_key

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def submit(
        self,
        prompt: str,
        *,
        controls: Sequence[Control] = (),
        webhook: str | None = None,
        idempotency_key: str | None = None,
        **parameters: Unpack[Parameters],
    ) -> Job:
        """`Client.submit`."""
        key = idempotency_key or self._new_key()
        return await self._send(await asyncio.to_thread(calls.submit, prompt, controls, parameters, webhook, key))

    async def job(self, job_id: str) -> Job:
        """`Client.job`."""
        return await self._send(calls.job(job_id))

    async def jobs(self, states: Collection[State | str] = (), limit: int | None = None) -> AsyncGenerator[Job]:
        """`Client.jobs`."""
        left, cursor = calls.LARGEST_PAGE if limit is None else limit, None
        while left > 0:
            page = await self._send(calls.jobs(states, left, cursor))
            for job in page.jobs[:left]:
                yield job
            cursor = page.next
            if cursor is None:
                return
            if limit is not None:
                left -= len(page.jobs)

    async def cancel(self, job_id: str) -> Job:
        """`Client.cancel`."""
        return await self._send(calls.cancel(job_id))

    async def events(self, job_id: str, after: str = "") -> AsyncGenerator[Event]:
        """`Client.events`. One that is left before its end is closed with `contextlib.aclosing`."""
        feed = Feed(self._retries, self._clock, self._luck, after)
        while not feed.ended:
            outcome: Outcome
            try:
                request = calls.events(job_id, feed.headers()).request(self._http)
                outcome = await self._http.send(request, stream=True)
                async with contextlib.aclosing(outcome):
                    if feed.opened(outcome):
                        async for chunk in outcome.aiter_bytes():
                            for event in feed.push(chunk):
                                yield event
                            if feed.ended:
                                break
                    else:
                        await outcome.aread()
            except httpx.TransportError as error:
                outcome = error
            if not feed.ended:
                await self._sleep(feed.pause_s(outcome))

    async def wait(self, job_id: str, progress: bool | Watcher = False) -> Job:
        """`Client.wait`."""
        with watching(progress) as tell:
            async with contextlib.aclosing(self.events(job_id)) as events:
                async for event in events:
                    tell(event)
                    if isinstance(event, Ended):
                        return event.job
        job = await self.job(job_id)  # nothing comes any more, and no end was told: of an end without a job, say
        if not job.terminal:
            raise StreamBroken("the events of the job ended before it did")
        return job

    async def images(self, job: Job | str) -> list[bytes]:
        """`Client.images`."""
        found = await self.job(job) if isinstance(job, str) else job
        return [await self._send(calls.image(found.id, index)) for index in range(found.n)]

    async def download(self, job_id: str, folder: str | os.PathLike[str]) -> list[Path]:
        """`Client.download`."""
        return await asyncio.to_thread(unpack, await self._send(calls.archive(job_id)), folder)

    async def annotate(
        self,
        type: str,
        picture: Picture,
        *,
        annotator: str | None = None,
        parameters: Mapping[str, float] | None = None,
        resolution: int | None = None,
        size: tuple[int, int] | None = None,
    ) -> Map:
        """`Client.annotate`."""
        key, given = self._new_key(), parameters or {}
        call = await asyncio.to_thread(calls.annotate, type, picture, annotator, given, resolution, size, key)
        return await self._send(call)

    async def generate(
        self,
        prompt: str,
        *,
        controls: Sequence[Control] = (),
        idempotency_key: str | None = None,
        progress: bool | Watcher = False,
        **parameters: Unpack[Parameters],
    ) -> list[bytes]:
        """`Client.generate`."""
        job = await self.submit(prompt, controls=controls, idempotency_key=idempotency_key, **parameters)
        job = await self.wait(job.id, progress)
        if job.failure is not None:
            raise job.failure
        for warned in job.warnings:
            warnings.warn(warned.detail, ResultWarning, stacklevel=2)
        return await self.images(job)

    async def _send(self, call: Call[T]) -> T:
        for attempt in count(1):
            outcome: Outcome
            try:
                outcome = await self._http.send(call.request(self._http))
            except httpx.TransportError as error:
                outcome = error
            pause_s = self._retries.pause_s(outcome, attempt, self._luck, repeatable=call.repeatable, keyed=call.keyed)
            if pause_s is None:
                return call.result(outcome)
            await self._sleep(pause_s)
        raise AssertionError("counting does not end")
