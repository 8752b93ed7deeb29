"""What was made for whom: one row for each job that succeeded, written with its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from serve.jobs.quotas import day
from serve.jobs.schema import usage

_INSERT = sa.insert(usage)


@dataclass(frozen=True, slots=True)
class Used:
    """What a tenant used of a model on a day.

    Attributes:
        day: In UTC, `2026-08-01`.
        model: Its name.
        steps: Of all images together.
        pixels: Likewise.
        gpu_seconds: Seconds that the jobs spent in samplers, alone or together with others.
        gflop: Work of all images together.
    """

    day: str
    model: str
    jobs: int
    images: int
    steps: int
    pixels: int
    gpu_seconds: float
    gflop: float


class Usage:
    """The usage in a database.

    Args:
        engine: From `open_database`.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._reads = engine

    def between(self, tenant: str, since: float, until: float) -> list[Used]:
        """What `tenant` used in `since <= at < until` (epoch seconds), by day and model in their order."""
        sums = (sa.func.sum(usage.c[name]) for name in ("images", "steps", "pixels", "gpu_seconds", "gflop"))
        query = (
            sa.select(usage.c.day, usage.c.model, sa.func.count(), *sums)
            .where(usage.c.tenant == tenant, usage.c.at >= since, usage.c.at < until)
            .group_by(usage.c.day, usage.c.model)
            .order_by(usage.c.day, usage.c.model)
        )
        with self._reads.connect() as connection:
            return [
                Used(day, model, jobs, int(images), int(steps), int(pixels), seconds, gflop)
                for day, model, jobs, images, steps, pixels, seconds, gflop in connection.execute(query)
            ]


def record_usage(connection: sa.Connection, job: sa.Row[Any], result: Mapping[str, Any], now: float) -> None:
    """Count a job that succeeds in this transaction; its id can be counted once."""
    spec = job.spec
    images = len(result["images"])
    used = {
        "job_id": job.id,
        "tenant": job.tenant,
        "model": job.model_name,
        "images": images,
        "steps": spec["steps"] * images,
        "pixels": spec["width"] * spec["height"] * images,
        "gpu_seconds": result["timings"].get("sampling", 0.0),
        "at": now,
        "day": day(now),
        "gflop": job.gflop,
    }
    connection.execute(_INSERT, used)
