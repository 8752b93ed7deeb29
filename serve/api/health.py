"""`GET /healthz`, `GET /readyz`."""

from __future__ import annotations

from fastapi import APIRouter

from serve.api.context import InContext

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Whether this process answers")
async def healthz() -> dict[str, str]:
    """Looks at nothing: a database that is away is no reason to restart the api."""
    return {"status": "ok"}


@router.get("/readyz", summary="Whether requests can be served")
async def readyz(context: InContext) -> dict[str, str]:
    """503 until a model is loaded and warm."""
    served = await context.warm()
    return {"status": "ready", "model": served.version.name, "version": served.version.version}
