"""One job from admission to its end, while a client waits."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial

from anyio import to_thread
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from serve.api.admission import Draft
from serve.api.context import Context, Served
from serve.api.problems import AboutJob
from serve.errors import JobCancelled, JobFailed, NotFound, ServeError, TimedOut
from serve.jobs.database import StoreUnavailable
from serve.jobs.retention import ArtifactsSwept
from serve.jobs.store import Job

RECHECK_S = 5.0
"""Looks at the row this often even without a signal: a wake-up that was lost must not cost a whole timeout."""

STORE_BACK_S = 0.5
"""Between looks while the store is away."""


async def submit(context: Context, tenant: str, draft: Draft, served: Served) -> Job:
    """Store a draft's pictures, then commit its row: a job never names bytes that are not there.

    Raises:
        ArtifactsSwept: The same pictures were being deleted, again and again.
    """
    for last in (False, False, True):
        mark = await to_thread.run_sync(context.store.retention.mark)
        keys = [
            [await context.artifacts.put(tenant, picture.data, picture.header.suffix) for picture in pictures]
            for pictures in draft.pictures
        ]
        store = partial(context.store.submit, tenant, draft.with_keys(keys), served.version, mark=mark)
        try:
            job = await to_thread.run_sync(store)
        except ArtifactsSwept:
            if last:
                raise
            continue
        break
    context.metrics.job(tenant, job.state)
    return job


async def succeeded(context: Context, job: Job, receive: Receive) -> Job:
    """Wait until the job has succeeded. If the client hangs up first, the job is asked to stop.

    Args:
        context: Of the app.
        job: As submitted.
        receive: The request's, with its body read: what comes next is a disconnect.

    Raises:
        AboutJob: It failed, was cancelled, or is not done in time (then it goes on).
        ClientDisconnect: Nobody is there to be answered.
    """
    end = asyncio.ensure_future(_terminal(context, job))
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({end, gone}, timeout=context.settings.job_timeout, return_when=asyncio.FIRST_COMPLETED)
        if end.done():
            return _checked(end.result())
        if gone.done():
            await to_thread.run_sync(context.store.request_cancel, job.id, job.tenant)
            raise ClientDisconnect
        late = TimedOut(f"Not done within {context.settings.job_timeout:g} s. The job {job.id} goes on: look it up.")
        raise AboutJob(late, job.id)
    finally:
        for task in (end, gone):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task


async def _terminal(context: Context, job: Job) -> Job:
    while True:
        seen = context.signals.generation  # before the look, so that no change falls between it and the wait
        try:
            current = await to_thread.run_sync(context.store.get, job.id, job.tenant)
        except StoreUnavailable:  # the job was accepted: its caller hears of it when the store is back
            await asyncio.sleep(STORE_BACK_S)
            continue
        if current is None:
            raise NotFound(f"The job {job.id} is gone.")
        if current.terminal:
            context.metrics.job(job.tenant, current.state, (current.finished_at or job.created_at) - job.created_at)
            return current
        await context.signals.changed(seen, RECHECK_S)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _checked(job: Job) -> Job:
    if job.state == "succeeded":
        return job
    if job.state == "cancelled":
        raise AboutJob(JobCancelled("The job was cancelled."), job.id)
    error = ServeError.from_problem(job.error) if job.error else JobFailed("The images could not be made.")
    raise AboutJob(error, job.id)
