"""`GET /healthz`, `GET /readyz`."""

from __future__ import annotations

from fastapi import APIRouter

from serve.api.context import InContext
from serve.errors import ModelNotReady, Overloaded
from serve.jobs.rollouts import FAULTS

router = APIRouter(tags=["health"])

DEAF_S = 30.0
"""Seconds without the store's signals after which this process is not ready: a failover is mostly shorter."""


@router.get("/healthz", summary="Whether this process answers")
async def healthz() -> dict[str, str]:
    """Looks at nothing: a database that is away is no reason to restart the api."""
    return {"status": "ok"}


@router.get("/readyz", summary="Whether requests can be served")
async def readyz(context: InContext) -> dict[str, str]:
    """503 until a model is loaded and warm, and where this process has not heard of changes for half a minute.

    `wanted` is the version that is to be served, where that is another. It waits behind no other request.
    """
    rollout = await context.look(context.health.rollouts.of, context.settings.model)
    try:
        served = await context.warm()
    except ModelNotReady as error:
        if rollout is None or rollout.fault is None:
            raise
        # The reason is for operators, whom this route does not know.
        why = FAULTS.get(rollout.fault, rollout.fault)
        raise ModelNotReady(f"No model is served: {why}; `cnserve status` says more.", retry_after_s=5) from error
    if context.signals.cut_off_s > DEAF_S:
        raise Overloaded("The store's signals are cut off: ends of jobs are noticed seconds late.", retry_after_s=5)
    answer = {"status": "ready", "model": served.version.name, "version": served.version.version}
    if rollout is not None and rollout.wanted not in (None, served.version.version):
        answer["wanted"] = str(rollout.wanted)
    return answer
