"""`/v1/jobs`: submit, list, look up, cancel. What a job made is `results`, what happens to it `events`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Literal

from anyio import to_thread
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from serve.api.access import OwnJob, Tenant, Who
from serve.api.context import Context, InContext
from serve.api.descriptions import JobAnswer, describe, describe_alone
from serve.api.images import BODY
from serve.api.problems import documented
from serve.api.submission import IdempotencyKey, submit_images
from serve.jobs.database import StoreUnavailable
from serve.jobs.store import Job

router = APIRouter(tags=["jobs"])

State = Literal["queued", "running", "succeeded", "failed", "cancelled"]


class JobsAnswer(BaseModel):
    """A page of jobs, the newest first."""

    jobs: list[JobAnswer]
    next: str | None = Field(description="Give it as `cursor` for the next page; none at the end.")


@router.post(
    "/v1/jobs",
    status_code=202,
    summary="Submit a job, and don't wait for it",
    response_model=JobAnswer,
    responses={
        200: {"model": JobAnswer, "description": "The job of this Idempotency-Key, which has ended."},
        202: {"description": "Accepted and on the disk: neither a crash nor a restart loses it."},
        **documented(408, 409, 415, 422),
    },
    openapi_extra=BODY,
)
async def create_job(
    request: Request, context: InContext, who: Who, idempotency_key: IdempotencyKey = None
) -> Response:
    """The body is that of `/v1/images`; follow the job by its `events` or its webhook, then fetch what it made.

    With an Idempotency-Key a request may safely be sent again after whatever went wrong: the job is made once. The
    same key with another request is 422, and 409 while the first request is still being accepted.
    """
    submission = await submit_images(request, context, who, idempotency_key)
    status = 200 if submission.replayed and submission.job.terminal else 202
    return await _answer(context, submission.job, status, submission.headers)


@router.get("/v1/jobs", summary="Your jobs, the newest first")
async def list_jobs(
    context: InContext,
    tenant: Tenant,
    state: Annotated[Sequence[State], Query(description="Only those in one of these.")] = (),
    limit: Annotated[int, Query(ge=1, le=200, description="Most jobs of a page.")] = 50,
    cursor: Annotated[str | None, Query(max_length=200, description="The `next` of the page before.")] = None,
) -> JobsAnswer:
    """Jobs that are submitted while pages are turned move nothing: no job is shown twice, and none is missed."""

    def look() -> JobsAnswer:
        page = context.store.page(tenant, state, cursor, limit)
        return JobsAnswer(jobs=[describe(context.store, job) for job in page.jobs], next=page.after)

    return await to_thread.run_sync(look)


@router.get("/v1/jobs/{job_id}", summary="Where a job stands", responses=documented(404))
async def get_job(job: OwnJob, context: InContext) -> JobAnswer:
    """Another team's job is as unknown as one that never was."""
    return await to_thread.run_sync(describe, context.store, job)


@router.delete(
    "/v1/jobs/{job_id}",
    status_code=202,
    summary="Cancel a job",
    response_model=JobAnswer,
    responses={
        200: {"model": JobAnswer, "description": "It had ended before, and stays as it is."},
        202: {"description": "It is cancelled, or (`running`) will be within a step."},
        **documented(404),
    },
)
async def cancel_job(job: OwnJob, context: InContext) -> Response:
    """A job that waits is cancelled at once, one that runs within a step; what is done by then is kept."""
    if job.terminal:
        return await _answer(context, job, 200)
    current = await to_thread.run_sync(context.store.request_cancel, job.id, job.tenant)
    return await _answer(context, current or job, 202)


async def _answer(context: Context, job: Job, status: int, headers: dict[str, str] | None = None) -> Response:
    try:
        answer = await to_thread.run_sync(partial(describe, context.store, job))
    except StoreUnavailable:
        if job.started_at is not None:
            raise
        answer = describe_alone(job)  # what was committed is answered for, though it can't be said where it stands
    return JSONResponse(answer.model_dump(), status, headers)
