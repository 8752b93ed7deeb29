"""How the platform is doing, for its operators: `GET /v1/status` and `cnserve status`."""

from __future__ import annotations

from dataclasses import asdict

from pydantic import BaseModel, Field

from serve.jobs.overview import Overview
from serve.jobs.rollouts import RolloutState


class ServedVersion(BaseModel):
    """What new jobs of a model get."""

    model: str
    version: str
    digest: str
    since: float = Field(description="Epoch seconds.")


class RolloutAnswer(BaseModel):
    """How far the version of a model that the registry names as champion is served."""

    model: str
    state: RolloutState = Field(description="`failed` is tried again, later and later.")
    wanted: str | None = Field(description="Version that is the champion; null before the registry was asked.")
    serving: str | None = Field(description="Version that new jobs get; null before the first.")
    fault: str | None = Field(
        description="Stage that failed: `store`, `resolve`, `champion`, `fetch`, `prepare`; null where none did."
    )
    reason: str | None = Field(description="What failed there, as a sentence.")


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
    rollouts: list[RolloutAnswer] = Field(description="Of what is to be served; empty where no dispatcher runs.")
    samplers: int = Field(description="Heard of in the last ten minutes.")
    queue: list[Line] = Field(description="Those that have most waiting first.")
    oldest: Oldest | None
    overdue: int = Field(description="Running jobs whose worker went silent: they are about to be taken over.")
    made: Made
    failed: dict[str, int] = Field(description="Jobs that failed in the last hour, by the type of their problem.")


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
        rollouts=[RolloutAnswer(**asdict(one)) for one in overview.rollouts],
        samplers=overview.samplers,
        queue=sorted(lines, key=lambda line: (-line.waiting, -line.running, line.tenant)),
        oldest=None if census.oldest is None else Oldest(job=census.oldest, waited_s=census.oldest_s),
        overdue=census.overdue,
        made=Made(jobs=overview.jobs, images=overview.images, gflop=overview.gflop),
        failed=dict(overview.failed),
    )
