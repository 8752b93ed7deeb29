"""What a team may use, on a request's way: counted before its body is read, bounded, told in the answer's headers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from anyio import to_thread
from starlette.requests import Request

from serve.config import Settings
from serve.errors import Forbidden, QuotaExceeded
from serve.jobs.quotas import DAY_S, MINUTE_S, Allowance, Quota, Rates, Spent
from serve.tenancy.principal import Principal
from serve.tenancy.tenants import Limits


async def count(request: Request, who: Principal, rates: Rates) -> None:
    """Count a request for work; its answer tells what is left.

    Raises:
        QuotaExceeded: The team has sent too many.
    """
    limit = who.limits.requests_per_minute
    if limit is None:
        return
    try:
        tell(request, [await to_thread.run_sync(rates.take, who.tenant, limit)])
    except QuotaExceeded as error:
        tell(request, [Allowance("requests", limit, MINUTE_S, 0, error.retry_after_s or 0.0)])
        raise


async def tell_day(request: Request, who: Principal, spent: Spent) -> None:
    """Have the answer tell what is left of the team's day."""
    day = quota(who.limits)
    if day.images_per_day is not None or day.gflop_per_day is not None:
        tell(request, await to_thread.run_sync(spent.left, who.tenant, day))


def tell(request: Request, allowances: Iterable[Allowance]) -> None:
    """Have the answer tell what is left."""
    request.state.allowances = (*getattr(request.state, "allowances", ()), *allowances)


def headers(state: Mapping[str, Any]) -> list[tuple[bytes, bytes]]:
    """`RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10), as ASGI has headers."""
    told: Sequence[Allowance] = state.get("allowances", ())
    if not told:
        return []
    policy = ", ".join(f'"{one.name}";q={one.limit};w={one.window_s:.0f}' for one in told)
    left = ", ".join(f'"{one.name}";r={one.left};t={math.ceil(one.reset_s)}' for one in told)
    return [(b"ratelimit-policy", policy.encode()), (b"ratelimit", left.encode())]


def quota(limits: Limits) -> Quota:
    """What the store counts."""
    return Quota(limits.queued_jobs, limits.images_per_day, limits.gflop_per_day)


def retention_s(limits: Limits) -> float | None:
    """How long the team's results are kept; none where the operator's setting decides."""
    return None if limits.retention_days is None else limits.retention_days * DAY_S


def bounds(settings: Settings, limits: Limits) -> Settings:
    """The settings, where the team's limits are less with those in their place."""
    pairs = {"max_images": limits.max_images, "max_steps": limits.max_steps, "max_pixels_out": limits.max_pixels}
    narrower = {name: limit for name, limit in pairs.items() if limit is not None and limit < getattr(settings, name)}
    return settings.model_copy(update=narrower) if narrower else settings


def check_model(who: Principal, model: str) -> None:
    """Refuse a model that the team may not use.

    Raises:
        Forbidden: It may not.
    """
    if who.limits.models is not None and model not in who.limits.models:
        raise Forbidden(f"Your team may not use the model {model}.")
