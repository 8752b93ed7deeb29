"""`/v1/keys` and `/v1/audit`: an admin looks after the keys of its own team, and sees what was done to the team."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from serve.api.access import Tenant, Who
from serve.api.context import InContext
from serve.api.problems import documented
from serve.api.submission import validated
from serve.api.uploads import read_json
from serve.tenancy.keys import Key, NewKey
from serve.tenancy.principal import Role

router = APIRouter(prefix="/v1", tags=["keys"])

TEN_YEARS_S = 10 * 366 * 24 * 3600.0
LARGEST_BODY = 4096  # bytes


class _Request(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class KeyRequest(_Request):
    """The key to make."""

    role: Role = Field("member", description="viewer: reads. member: makes and cancels jobs, too. admin: keys, too.")
    name: str = Field(min_length=1, max_length=100, description="For people: who or what uses it.")
    expires_in: float | None = Field(
        None, gt=0, le=TEN_YEARS_S, description="Seconds; without it the key is valid until it is revoked."
    )


class RotateRequest(_Request):
    """How the old key ends."""

    grace: float = Field(0.0, ge=0, le=30 * 24 * 3600.0, description="Seconds that the old key stays valid.")


class KeyAnswer(BaseModel):
    """A key, without its secret. Times are epoch seconds."""

    id: str
    role: Role
    name: str
    created_at: float
    expires_at: float | None
    revoked_at: float | None


class NewKeyAnswer(KeyAnswer):
    """A key that was just made."""

    key: str = Field(description="The key itself. It is not shown again: nobody here can find it.")


class KeysAnswer(BaseModel):
    """Keys that are valid, the oldest first."""

    keys: list[KeyAnswer]


class AuditEntry(BaseModel):
    """What was done, by whom."""

    id: int
    at: float
    actor: str = Field(description="`key:<id>`, `token:<subject>`, or the operator: `shell:<user>`, `cnserve up`.")
    action: str = Field(description="`key.created`, `key.rotated`, `key.revoked`, `tenant.added`, `tenant.changed` ...")
    data: dict[str, Any]


class AuditAnswer(BaseModel):
    """A page of the audit log, the newest first."""

    entries: list[AuditEntry]
    next: str | None = Field(description="Give it as `cursor` for the next page; none at the end.")


def _body(model: type[BaseModel], *, required: bool) -> dict[str, Any]:
    content = {"application/json": {"schema": model.model_json_schema()}}
    return {"requestBody": {"required": required, "content": content}}


@router.get("/keys", summary="Your team's keys")
async def list_keys(context: InContext, tenant: Tenant) -> KeysAnswer:
    """Those that are valid. What became of others is in the audit log."""
    found = await to_thread.run_sync(context.tenancy.keys.list, tenant)
    return KeysAnswer(keys=[KeyAnswer(**_shown(key)) for key in found])


@router.post(
    "/keys",
    status_code=201,
    summary="Make a key for your team",
    response_model=NewKeyAnswer,
    responses=documented(408, 415, 422),
    openapi_extra=_body(KeyRequest, required=True),
)
async def create_key(request: Request, context: InContext, who: Who) -> Response:
    """The answer is the only place where the key is ever shown."""
    wanted = validated(KeyRequest, await read_json(request, LARGEST_BODY))
    make = partial(context.tenancy.keys.create, who.tenant, wanted.role, wanted.name, who.actor, wanted.expires_in)
    return _told(await to_thread.run_sync(make))


@router.delete("/keys/{key_id}", summary="Revoke a key", responses=documented(404))
async def revoke_key(key_id: str, context: InContext, who: Who) -> KeyAnswer:
    """It is not valid from the next request on. Revoking it again changes nothing."""
    key = await to_thread.run_sync(context.tenancy.keys.revoke, who.tenant, key_id, who.actor)
    return KeyAnswer(**_shown(key))


@router.post(
    "/keys/{key_id}/rotate",
    status_code=201,
    summary="Rotate a key: make a new one in its place",
    response_model=NewKeyAnswer,
    responses=documented(404, 408, 415, 422),
    openapi_extra=_body(RotateRequest, required=False),
)
async def rotate_key(key_id: str, request: Request, context: InContext, who: Who) -> Response:
    """The new key has the old one's role and name, and lives as long from now as the old one was to live."""
    wanted = validated(RotateRequest, await read_json(request, LARGEST_BODY, default=b"{}"))
    rotate = partial(context.tenancy.keys.rotate, who.tenant, key_id, who.actor, wanted.grace)
    return _told(await to_thread.run_sync(rotate))


@router.get("/audit", summary="What admins and the operator did to your team")
async def list_audit(
    context: InContext,
    tenant: Tenant,
    limit: Annotated[int, Query(ge=1, le=200, description="Most entries of a page.")] = 50,
    cursor: Annotated[str | None, Query(max_length=200, description="The `next` of the page before.")] = None,
) -> AuditAnswer:
    """One entry for each action, the newest first. Nothing here is ever changed."""
    page = await to_thread.run_sync(context.tenancy.audit.page, tenant, cursor, limit)
    entries = [
        AuditEntry(id=entry.id, at=entry.at, actor=entry.actor, action=entry.action, data=dict(entry.data))
        for entry in page.entries
    ]
    return AuditAnswer(entries=entries, next=page.after)


def _told(new: NewKey) -> JSONResponse:
    answer = NewKeyAnswer(**_shown(new.key), key=new.text)
    return JSONResponse(answer.model_dump(), 201, {"Cache-Control": "no-store"})


def _shown(key: Key) -> Mapping[str, Any]:
    return {name: getattr(key, name) for name in KeyAnswer.model_fields}
