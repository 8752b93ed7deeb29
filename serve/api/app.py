"""The HTTP application, composed from what it is given."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from controlnet import __version__
from serve.api import (
    controls,
    events,
    health,
    images,
    jobs,
    keys,
    legacy,
    models,
    pages,
    problems,
    results,
    status,
    usage,
)
from serve.api.access import NEEDED, SCHEME, SECURITY, check
from serve.api.context import Context
from serve.api.ends import Ends
from serve.api.observe import Observe
from serve.api.schemas import ImagesRequest, MapRequest
from serve.api.streams import Streams
from serve.api.uploads import BodyLimit
from serve.config import Settings
from serve.jobs.artifacts import ArtifactStore
from serve.jobs.signals import Signals
from serve.jobs.store import JobStore
from serve.telemetry import ApiMetrics, Tracing
from serve.tenancy.principal import Role
from serve.tenancy.tenancy import Tenancy

DESCRIPTION = """Images that follow a prompt and keep a picture's structure.

`POST /v1/images` is the way in; `/v1/controls` says what can steer an image and within which bounds, and makes control
maps to be used again.

What takes longer than you want to wait for is a job: `POST /v1/jobs`, follow its `events`, fetch what it made. A job
that was accepted (202) ends as `succeeded`, `failed` or `cancelled`, once, through crashes and restarts. Send an
`Idempotency-Key` with it and you may repeat the request itself, too.

Every request needs a key: `Authorization: Bearer <key>`. Admins of your team make keys at `/v1/keys`; a viewer's key
reads, a member's makes jobs, too. You see the jobs, maps and usage of your own team only.

Every error is a `Problem` (`application/problem+json`, RFC 9457): `errors` names each field at fault, `type` leads to
what it means and what to do, `request_id` is what to quote.
"""

TAGS = [
    {"name": "images", "description": "Images in one request: the answer waits for them."},
    {"name": "jobs", "description": "The same without waiting: submit, follow, fetch, cancel."},
    {"name": "models", "description": "What is served: models, controls, and control maps made for their own sake."},
    {"name": "usage", "description": "What your team used."},
    {"name": "keys", "description": "Your team's keys, and what was done with them. For its admins."},
    {"name": "status", "description": "How the platform is doing. For its operators."},
    {"name": "first demo", "description": "The first demo's contract, which stays as it is. New clients use `/v1`."},
    {"name": "health", "description": "What anybody may ask, without a key."},
]

ANYWHERE = (400, 413, 500, 503)
"""Errors that every route may answer with: a request's head and body, and too many at once, are met before it."""

HEADERS: Mapping[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}}},
    429: {"Retry-After": {"schema": {"type": "integer"}}},
}
"""Of answers that are errors, by status."""


def create_app(
    settings: Settings,
    store: JobStore,
    tenancy: Tenancy,
    artifacts: ArtifactStore,
    signals: Signals,
    metrics: ApiMetrics,
    *,
    tracing: Tracing | None = None,
    clock: Callable[[], float] | None = None,
    random_seed: Callable[[], int] = lambda: secrets.randbelow(2**32),
    on_shutdown: Sequence[Callable[[], object]] = (),
    body_s: float = 60.0,
    health: JobStore | None = None,
) -> FastAPI:
    """The api. Pure composition: opens nothing, starts nothing.

    Args:
        settings: Bounds.
        store: Where jobs go.
        tenancy: Tells who asks.
        artifacts: Where pictures go and come from.
        signals: Tells when the store changed.
        metrics: Told of every request, body and job.
        tracing: Makes spans of requests; none does not.
        clock: Epoch seconds; the store's when absent.
        random_seed: A seed for whoever gave none.
        on_shutdown: Called in order when the server stops; for what the caller opened.
        body_s: Seconds in which a request's body must have arrived.
        health: The same store over connections of its own, for looks at how things are; `store` when absent.
    """
    tracing = tracing or Tracing("api", None)
    app = FastAPI(
        title="ControlNet platform",
        version=__version__,
        description=DESCRIPTION,
        openapi_tags=TAGS,
        docs_url=None,  # `pages` has one that asks no other host
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_closing(on_shutdown),
        middleware=[
            Middleware(Observe, metrics=metrics, tracing=tracing),
            Middleware(BodyLimit, max_bytes=settings.max_body, seconds=body_s, count=metrics.upload),
        ],
        routes=list(_routes()),
        dependencies=[Depends(check)],  # of a route that is added to this app
    )
    app.state.context = Context(
        settings,
        store,
        tenancy,
        artifacts,
        signals,
        metrics,
        clock or (lambda: store.clock()),
        random_seed,
        Streams(settings.max_streams),
        tracing,
        Ends(store, signals),
        health or store,
    )
    problems.install(app)
    _describe(app, settings)
    return app


@cache
def _routes() -> Sequence[BaseRoute]:
    """Every route, with the check that none can do without.

    They hold nothing of an app. FastAPI makes a route's models when it is first looked for, anew for each
    `include_router`: a tenth of a second of processor time, which the first requests of each app would pay.
    """
    router = APIRouter(dependencies=[Depends(check)], responses=problems.documented(*ANYWHERE))
    for resource in (images, jobs, events, results, controls, models, usage, keys, status, legacy, health, pages):
        router.include_router(resource.router)
    return tuple(router.routes)


def _closing(calls: Sequence[Callable[[], object]]) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        for call in calls:
            call()

    return lifespan


def _describe(app: FastAPI, settings: Settings) -> None:
    """OpenAPI with what FastAPI can't see: bodies that are read by hand, bounds from settings, errors' media type."""
    bounds = {"n": settings.max_images, "steps": settings.max_steps}

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title, version=app.version, description=app.description, tags=TAGS, routes=app.routes
            )
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            request = ImagesRequest.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas.update(request.pop("$defs"))
            schemas |= {"ImagesRequest": request, "MapRequest": MapRequest.model_json_schema()}
            for name, bound in bounds.items():
                request["properties"][name]["maximum"] = bound
            request["properties"]["controls"]["maxItems"] = settings.max_controls
            document["components"] |= {"securitySchemes": {SCHEME: SECURITY}, "responses": {}}
            for path, operations in document["paths"].items():
                for method, operation in operations.items():
                    if (role := NEEDED[method.upper(), path]) is not None:
                        _secure(operation, role)
                    operation["responses"] = _shared(operation["responses"], document["components"]["responses"])
            _open_enums(schemas)
            schemas.pop("HTTPValidationError", None)
            schemas.pop("ValidationError", None)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _open_enums(schemas: dict[str, Any]) -> None:
    """Say of the enums of answers that later versions may add to them (Zalando's guideline 112)."""
    for name, schema in schemas.items():
        if not (name.endswith("Request") or name.startswith("Body_")):
            for member in schema.get("properties", {}).values():
                if "enum" in member:
                    member["x-extensible-enum"] = member["enum"]


def _secure(operation: dict[str, Any], role: Role) -> None:
    """What OpenAPI says of an operation that is not public."""
    operation["security"] = [{SCHEME: []}]
    operation["description"] += f"\n\nRole: `{role}`."
    operation["responses"] |= {"401": {}, "403": {}, "429": {}}


def _shared(responses: Mapping[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    """An operation's answers; errors are described once, in `shared`: FastAPI's own 422 is another than ours."""
    found = {}
    for code in sorted(responses):
        if code < "400":
            found[code] = responses[code]
        else:
            name = f"Problem{code}"
            shared.setdefault(name, _error(HTTPStatus(int(code))))
            found[code] = {"$ref": f"#/components/responses/{name}"}
    return found


def _error(code: HTTPStatus) -> dict[str, Any]:
    types = [f"[`{name}`](/problems/{name})" for name, kind in problems.KINDS.items() if kind.status == code]
    content = {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    described = {"description": f"{code.phrase}: {', '.join(types)}", "content": content}
    return described | ({"headers": HEADERS[code]} if code in HEADERS else {})
