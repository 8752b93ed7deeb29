"""Who may do what: the role that each route needs, all of them here, and the check that every request goes through.

The check is a dependency of the whole app, so that a route gets it without asking; one that is not in the table below
answers nobody. It runs before the body is read.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

from anyio import to_thread
from fastapi import Depends, Request

from serve.api.context import InContext
from serve.api.quotas import count
from serve.errors import Forbidden, NotFound, Overloaded, Unauthenticated
from serve.jobs.store import Job
from serve.tenancy.principal import Principal, Role

NEEDED: Mapping[tuple[str, str], Role | None] = {
    ("GET", "/"): None,
    ("GET", "/healthz"): None,
    ("GET", "/readyz"): None,
    ("GET", "/problems/{kind}"): None,
    ("GET", "/v1/models"): "viewer",
    ("GET", "/v1/controls"): "viewer",
    ("GET", "/v1/jobs"): "viewer",
    ("GET", "/v1/jobs/{job_id}"): "viewer",
    ("GET", "/v1/jobs/{job_id}/events"): "viewer",
    ("GET", "/v1/jobs/{job_id}/images/{k}"): "viewer",
    ("GET", "/v1/jobs/{job_id}/controls/{k}"): "viewer",
    ("GET", "/v1/jobs/{job_id}/archive"): "viewer",
    ("GET", "/v1/usage"): "viewer",
    ("GET", "/model/health"): "viewer",
    ("POST", "/v1/images"): "member",
    ("POST", "/v1/jobs"): "member",
    ("DELETE", "/v1/jobs/{job_id}"): "member",
    ("POST", "/v1/controls/{type}"): "member",
    ("POST", "/model/generate"): "member",
    ("GET", "/v1/keys"): "admin",
    ("POST", "/v1/keys"): "admin",
    ("DELETE", "/v1/keys/{key_id}"): "admin",
    ("POST", "/v1/keys/{key_id}/rotate"): "admin",
    ("GET", "/v1/audit"): "admin",
    ("GET", "/v1/status"): "admin",
}
"""The least role, by method and template of the path; none is public, as `/docs`, `/assets` and `/openapi.json` are."""

SCHEME = "key"
SECURITY: dict[str, Any] = {
    "type": "http",
    "scheme": "bearer",
    "description": "A key (`cn_<id>_<secret>`) from an admin of your team, or a token of the operator's OpenID issuer.",
}
"""How OpenAPI calls the credential, and what it says of it."""

_JOB_ID = re.compile(r"job_[0-9a-f]{1,64}")


async def check(request: Request, context: InContext) -> Principal | None:
    """Who asks, if they may; none where anybody may.

    Raises:
        Unauthenticated: They are not known.
        Forbidden: Their role is too low.
        QuotaExceeded: Their team has asked for too much work in this minute.
    """
    needed = NEEDED[request.method, request.scope["route"].path]
    if needed is None:
        return None
    principal = await context.tenancy.gate.admit(request.headers.getlist("authorization"))
    request.state.tenant = principal.tenant  # for the log
    if not principal.may(needed):
        raise Forbidden(f"This needs the role {needed}; yours is {principal.role}.")
    if request.method == "POST" and needed == "member":  # it asks for work; looking is free, however often one looks
        await count(request, principal, context.store.rates)
    return principal


async def still_known(request: Request, context: InContext) -> Callable[[], Awaitable[bool]]:
    """Asks again whether the request's credential is good: for answers that last longer than that may be so."""

    async def ask() -> bool:
        try:
            with contextlib.suppress(Overloaded):  # it can't be said just now
                await context.tenancy.gate.admit(request.headers.getlist("authorization"))
        except (Unauthenticated, Forbidden):
            return False
        return True

    return ask


StillKnown = Annotated[Callable[[], Awaitable[bool]], Depends(still_known)]
Checked = Annotated[Principal | None, Depends(check)]


async def known(checked: Checked) -> Principal:
    """Who asks, on a route that isn't public."""
    assert checked is not None, "a public route asked who it is"
    return checked


Who = Annotated[Principal, Depends(known)]


async def tenant(who: Who) -> str:
    """The team that asks: from the credential, never from a header of its own or the body."""
    return who.tenant


Tenant = Annotated[str, Depends(tenant)]


async def own_job(job_id: str, context: InContext, tenant: Tenant) -> Job:
    """The job that a path names. Another team's is as unknown as one that never was.

    Raises:
        NotFound: There is none.
    """
    job = await to_thread.run_sync(context.store.get, job_id, tenant) if _JOB_ID.fullmatch(job_id) else None
    if job is None:
        raise NotFound("There is no such job.")
    return job


OwnJob = Annotated[Job, Depends(own_job)]
