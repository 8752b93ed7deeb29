"""`GET /v1/usage`: what a team used, by day and model."""

from __future__ import annotations

import re
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Query
from pydantic import BaseModel, BeforeValidator, Field

from serve.api.access import Tenant
from serve.api.context import InContext
from serve.errors import InvalidRequest

router = APIRouter(tags=["usage"])

DAYS = 30
MOST_DAYS = 366
_DAY = re.compile(r"[12][0-9]{3}-[0-9]{2}-[0-9]{2}", re.ASCII)


def _day(text: object) -> date:
    if not isinstance(text, str) or not _DAY.fullmatch(text):
        raise ValueError("must be a day: 2026-08-01")
    return date.fromisoformat(text)


Day = Annotated[date, BeforeValidator(_day)]


class Used(BaseModel):
    """What was made with a model on a day."""

    day: str = Field(description="In UTC.")
    model: str
    jobs: int = Field(description="Those that succeeded; nothing else is counted.")
    images: int
    steps: int = Field(description="Of all images together.")
    pixels: int = Field(description="Likewise.")
    gpu_seconds: float = Field(description="That the jobs spent in samplers, alone or together with others.")
    gflop: float = Field(description="Their work in 10^9 floating point operations.")


class UsageAnswer(BaseModel):
    """What a team used in `since <= day < until`, by day and model."""

    since: str
    until: str
    usage: list[Used]


@router.get("/v1/usage", summary="What your team used, by day and model")
async def get_usage(
    context: InContext,
    tenant: Tenant,
    since: Annotated[Day | None, Query(description="First day, in UTC; by default 30 days before `until`.")] = None,
    until: Annotated[Day | None, Query(description="The day after the last, in UTC; by default tomorrow.")] = None,
) -> UsageAnswer:
    """Each job that succeeded is counted once, whatever was tried again for it, in the day of its end."""
    end = until or datetime.fromtimestamp(context.clock(), UTC).date() + timedelta(days=1)
    begin = since or end - timedelta(days=DAYS)
    if not begin < end <= begin + timedelta(days=MOST_DAYS):
        raise InvalidRequest(f"must be 1 to {MOST_DAYS} days before until, which is {end}", field="since")
    used = await to_thread.run_sync(context.store.usage.between, tenant, _epoch_s(begin), _epoch_s(end))
    return UsageAnswer(since=begin.isoformat(), until=end.isoformat(), usage=[Used(**asdict(line)) for line in used])


def _epoch_s(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
