"""A job's end, while a client waits for it."""

from __future__ import annotations

import asyncio
import contextlib

from anyio import to_thread
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from serve.api.context import Context
from serve.api.problems import AboutJob
from serve.api.submission import Submission
from serve.errors import JobCancelled, JobFailed, NotFound, ServeError, TimedOut
from serve.jobs.store import Job


async def succeeded(context: Context, submission: Submission, receive: Receive, key: str | None = None) -> Job:
    """Wait until the job has succeeded. If the client hangs up first, the job is asked to stop.

    Args:
        context: Of the app.
        submission: The job.
        receive: The request's, with its body read: what comes next is a disconnect.
        key: The Idempotency-Key: who gave one may come back for the job, so that it goes on.

    Raises:
        AboutJob: It failed, was cancelled, or is not done in time (then it goes on).
        ClientDisconnect: Nobody is there to be answered.
    """
    job = submission.job
    end = asyncio.ensure_future(context.ends.of(job.id))
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({end, gone}, timeout=context.settings.job_timeout, return_when=asyncio.FIRST_COMPLETED)
        if end.done():
            return _checked(end.result(), job.id)
        if gone.done():
            if key is None:
                await to_thread.run_sync(context.store.request_cancel, job.id, job.tenant)
            raise ClientDisconnect
        late = TimedOut(f"Not done within {context.settings.job_timeout:g} s. The job {job.id} goes on: look it up.")
        raise AboutJob(late, job.id)
    finally:
        for task in (end, gone):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _checked(job: Job | None, job_id: str) -> Job:
    if job is None:
        raise NotFound(f"The job {job_id} no longer exists.")
    if job.state == "succeeded":
        return job
    if job.state == "cancelled":
        raise AboutJob(JobCancelled("The job was cancelled."), job.id)
    error = ServeError.from_problem(job.error) if job.error else JobFailed("The images could not be made.")
    raise AboutJob(error, job.id)
