"""`GET /v1/status`: how the platform is doing, for its operators.

It tells of all teams, so an admin's role in a team of its own is not enough: the team must be one of `CN_OPERATORS`.
"""

from __future__ import annotations

from anyio import to_thread
from fastapi import APIRouter

from serve.api.access import Who
from serve.api.context import InContext
from serve.api.problems import documented
from serve.errors import Forbidden
from serve.jobs.store import READY
from serve.views.status import StatusAnswer, answer

router = APIRouter(tags=["status"])


@router.get("/v1/status", summary="How the platform is doing, for its operators", responses=documented(403))
async def get_status(context: InContext, who: Who) -> StatusAnswer:
    """What waits by team, what was made and what failed lately, and which versions are served."""
    if who.tenant not in context.settings.operating_tenants:
        raise Forbidden("Only the platform's operators may see this, and your team is none of theirs.")
    overview = await to_thread.run_sync(context.store.overview)
    ready = await to_thread.run_sync(context.store.locked, READY)
    return answer(overview, ready)
