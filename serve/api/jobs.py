"""`GET /v1/jobs/{id}`."""

from __future__ import annotations

import re
from typing import Any, Literal

from anyio import to_thread
from fastapi import APIRouter
from pydantic import BaseModel, Field

from serve.api.context import InContext, Tenant
from serve.api.schemas import ModelAnswer
from serve.errors import NotFound

router = APIRouter(tags=["jobs"])

_ID = re.compile(r"job_[0-9a-f]{1,64}")


class JobAnswer(BaseModel):
    """Where a job stands. Times are epoch seconds."""

    id: str
    state: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    attempt: int = Field(description="How often it was started.")
    progress: dict[str, Any] | None
    error: dict[str, Any] | None = Field(description="The problem that ended it.")
    model: ModelAnswer
    created_at: float
    started_at: float | None
    finished_at: float | None


@router.get("/v1/jobs/{job_id}", summary="Where a job stands")
async def get_job(job_id: str, context: InContext, tenant: Tenant) -> JobAnswer:
    """Another team's job is as unknown as one that never was."""
    job = await to_thread.run_sync(context.store.get, job_id, tenant) if _ID.fullmatch(job_id) else None
    if job is None:
        raise NotFound("There is no such job.")
    return JobAnswer(
        id=job.id,
        state=job.state,
        attempt=job.attempt,
        progress=None if job.progress is None else dict(job.progress),
        error=None if job.error is None else dict(job.error),
        model=ModelAnswer(name=job.model.name, version=job.model.version, digest=job.model.digest),
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
    )
