"""`GET /healthz`, `GET /readyz`, and what the types of problems mean."""

from __future__ import annotations

import inspect

from fastapi import APIRouter

from serve.api.context import InContext
from serve.api.problems import KINDS, documented
from serve.errors import NotFound

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


@router.get("/problems/{kind}", summary="What a type of problem means", responses=documented(404))
async def problem(kind: str) -> dict[str, str | int]:
    """The `type` of every problem leads here."""
    if kind not in KINDS:
        raise NotFound(f"There is no such kind of problem; there are {', '.join(KINDS)}.")
    found = KINDS[kind]
    return {"title": found.title, "status": found.status, "description": inspect.getdoc(found) or found.title}
