"""How the platform is doing, on one screen: what is served, what waits, what was made and what failed lately."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from serve.jobs.census import Census, census
from serve.jobs.queue import FRESH_S
from serve.jobs.rollouts import Rollout, current
from serve.jobs.schema import jobs, paces, serving, usage

MADE_S = 300.0
"""What was made is counted over so many seconds."""

FAILED_S = 3600.0
"""And what failed over so many."""

LONGEST_S = 24 * 3600.0  # a job that failed lately is not older, so that the index by age is enough


@dataclass(frozen=True, slots=True)
class Serving:
    """A model, the version of it that new jobs get, and since when (epoch seconds)."""

    model: str
    version: str
    digest: str
    since: float


@dataclass(frozen=True, slots=True)
class Overview:
    """Of a moment.

    Attributes:
        serving: By model.
        rollouts: By model, of platforms that run: what is to be served, and what keeps it from that.
        samplers: That were heard of in the last ten minutes: they say how long their steps take once they had one.
        census: What waits and runs.
        jobs: That succeeded in the last `MADE_S`.
        images: They made.
        gflop: Their work.
        failed: Jobs that failed in the last `FAILED_S`, by the type of their problem.
    """

    serving: tuple[Serving, ...]
    rollouts: tuple[Rollout, ...]
    samplers: int
    census: Census
    jobs: int
    images: int
    gflop: float
    failed: Mapping[str, int]


def overview(connection: sa.Connection, now: float) -> Overview:
    """Look."""
    served = sa.select(serving.c.name, serving.c.version, serving.c.digest, serving.c.since).order_by(serving.c.name)
    samplers = sa.select(sa.func.count()).where(paces.c.at > now - FRESH_S)
    made = sa.select(
        sa.func.count(),
        sa.func.coalesce(sa.func.sum(usage.c.images), 0),
        sa.func.coalesce(sa.func.sum(usage.c.gflop), 0.0),
    ).where(usage.c.at > now - MADE_S)
    problem = jobs.c.error["type"].as_string()
    failed = (
        sa.select(problem, sa.func.count())
        .where(jobs.c.state == "failed", jobs.c.created_at > now - LONGEST_S, jobs.c.finished_at > now - FAILED_S)
        .group_by(problem)
    )
    count, images, gflop = connection.execute(made).one()
    return Overview(
        serving=tuple(Serving(*row) for row in connection.execute(served)),
        rollouts=current(connection, now),
        samplers=connection.scalar(samplers) or 0,
        census=census(connection, now),
        jobs=count,
        images=int(images),
        gflop=gflop,
        failed=dict(connection.execute(failed).all()),
    )
