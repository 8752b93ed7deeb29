"""`GET /v1/status`: how the platform is doing, for its operators.

It tells of all teams, so an admin's role in a team of its own is not enough: the team must be one of `CN_OPERATORS`.
"""

from __future__ import annotations

from anyio import to_thread
from fastapi import APIRouter
from pydantic import BaseModel, Field

from serve.api.access import Who
from serve.api.context import InContext
from serve.api.problems import documented
from serve.errors import Forbidden
from serve.jobs.overview import Overview
from serve.jobs.store import READY

router = APIRouter(tags=["status"])


class ServedVersion(BaseModel):
    """What new jobs of a model get."""

    model: str
    version: str
    digest: str
    since: float = Field(description="Epoch seconds.")


class Line(BaseModel):
    """A team's jobs that are not over."""

    tenant: str
    waiting: int
    running: int
    gflop: float = Field(description="Work that waits, in 10^9 operations.")


class Oldest(BaseModel):
    """The job that has waited longest."""

    job: str
    waited_s: float


class Made(BaseModel):
    """By the jobs that succeeded in the last five minutes."""

    jobs: int
    images: int
    gflop: float


class StatusAnswer(BaseModel):
    """How the platform is doing now."""

    ready: bool = Field(description="Samplers hold what is served, loaded and warm.")
    serving: list[ServedVersion]
    samplers: int = Field(description="Heard of in the last ten minutes.")
    queue: list[Line] = Field(description="Those that have most waiting first.")
    oldest: Oldest | None
    overdue: int = Field(description="Running jobs whose worker went silent: they are about to be taken over.")
    made: Made
    failed: dict[str, int] = Field(description="Jobs that failed in the last hour, by the type of their problem.")


@router.get("/v1/status", summary="How the platform is doing, for its operators", responses=documented(403))
async def get_status(context: InContext, who: Who) -> StatusAnswer:
    """What waits by team, what was made and what failed lately, and which versions are served."""
    if who.tenant not in context.settings.operating_tenants:
        raise Forbidden("Only the platform's operators may see this, and your team is none of theirs.")
    overview = await to_thread.run_sync(context.store.overview)
    ready = await to_thread.run_sync(context.store.locked, READY)
    return answer(overview, ready)


def answer(overview: Overview, ready: bool) -> StatusAnswer:
    """The overview as it is told."""
    census = overview.census
    teams = census.queued.keys() | census.running.keys()
    lines = [
        Line(
            tenant=tenant,
            waiting=census.queued[tenant].jobs if tenant in census.queued else 0,
            running=census.running.get(tenant, 0),
            gflop=census.queued[tenant].gflop if tenant in census.queued else 0.0,
        )
        for tenant in teams
    ]
    return StatusAnswer(
        ready=ready,
        serving=[
            ServedVersion(model=one.model, version=one.version, digest=one.digest, since=one.since)
            for one in overview.serving
        ],
        samplers=overview.samplers,
        queue=sorted(lines, key=lambda line: (-line.waiting, -line.running, line.tenant)),
        oldest=None if census.oldest is None else Oldest(job=census.oldest, waited_s=census.oldest_s),
        overdue=census.overdue,
        made=Made(jobs=overview.jobs, images=overview.images, gflop=overview.gflop),
        failed=dict(overview.failed),
    )
