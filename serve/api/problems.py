"""Every error leaves as RFC 9457 `application/problem+json`, and this is the one place that makes it so.

| member | meaning |
|---|---|
| `type` | `/problems/<kind>`, which tells what it means and what to do; `about:blank` for what has no kind here |
| `title`, `status`, `detail` | the kind in a phrase, the HTTP status, one sentence about this case |
| `errors` | `[{field, detail}]`: each field at fault as a dotted path, with the bound it broke |
| `request_id` | also in the `X-Request-ID` header and in the log |
| `trace_id` | of its trace, where it is traced; also in the `X-Trace-ID` header |
| `job` | id of the job the error is about, if one was accepted, or may have been: `Location` leads there |
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Match

from serve.api.schemas import Problem
from serve.errors import (
    HeadTooLarge,
    InvalidRequest,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    RequestTimeout,
    ServeError,
    Unauthenticated,
    UnsupportedContentType,
    kinds,
)
from serve.findings import phrase
from serve.telemetry import trace_id

MEDIA_TYPE = "application/problem+json"
LONGEST = 300  # characters of a client's own words that are said back to it

METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")

KINDS: Mapping[str, type[ServeError]] = dict(sorted(kinds().items()))
_BY_STATUS: Mapping[int, type[ServeError]] = {
    kind.status: kind
    for kind in (
        MalformedRequest,
        NotFound,
        MethodNotAllowed,
        RequestTimeout,
        UnsupportedContentType,
        InvalidRequest,
        HeadTooLarge,
    )
}
"""The kinds of errors that HTTP has by itself: of its parser, of the router, of forms."""


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of a route that answers with these errors. `app` adds those of every route."""
    return {status: {"model": Problem, "description": HTTPStatus(status).phrase} for status in statuses}


class InvalidFields(Exception):
    """Fields are out of their bounds: an `InvalidRequest` that can name several. It never leaves this process.

    Args:
        errors: (field, detail) pairs, at least one.
    """

    def __init__(self, errors: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{field} {detail}" for field, detail in errors))
        self.errors = tuple(errors)

    def renamed(self, names: Mapping[str, str]) -> InvalidFields:
        """The same errors in another vocabulary; fields that `names` lacks keep their names."""
        return InvalidFields([(names.get(field, field), detail) for field, detail in self.errors])


class AboutJob(Exception):
    """An error that a job met after it was accepted."""

    def __init__(self, error: ServeError, job_id: str) -> None:
        super().__init__(error.detail)
        self.error = error
        self.job_id = job_id


def invalid(error: ValidationError | RequestValidationError) -> InvalidFields:
    """Pydantic's findings in our words: dotted path, bound named, the value not repeated."""
    return InvalidFields([_finding(found) for found in error.errors()][:20])


def _finding(found: ErrorDetails | dict[str, Any]) -> tuple[str, str]:
    place = [str(part) for part in found["loc"] if part not in ("body", "query", "path", "header")]
    return ".".join(place) or "body", phrase(found)


def response(error: ServeError | InvalidFields | HTTPException, request_id: str, job_id: str | None = None) -> Response:
    """The answer that an error becomes."""
    headers: dict[str, str] = {"Cache-Control": "no-store"}
    fields: Sequence[tuple[str, str]] = ()
    if isinstance(error, InvalidFields):
        fields = error.errors
        error = InvalidRequest(str(error))
    if isinstance(error, HTTPException):
        error_type = _BY_STATUS.get(error.status_code)
        headers |= error.headers or {}
        if error_type is None:
            phrase = HTTPStatus(error.status_code).phrase
            body: dict[str, Any] = {"type": "about:blank", "title": phrase, "status": error.status_code}
            return _render(body | {"detail": _short(str(error.detail)), "request_id": request_id}, headers)
        error = error_type(str(error.detail))
    body = members(error, fields)
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    if job_id is not None:
        body["job"] = job_id
        headers["Location"] = f"/v1/jobs/{job_id}"
    return _render(body | {"request_id": request_id}, headers)


def members(error: ServeError, fields: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    """An error's members, those of the answer that tells of it aside; a job that failed shows the same."""
    body: dict[str, Any] = {
        "type": f"/problems/{error.type}",
        "title": error.title,
        "status": error.status,
        "detail": _short(error.detail),
    }
    if error.field is not None:
        fields = [(error.field, error.detail)]
    if fields:
        body["errors"] = [{"field": _short(field), "detail": _short(detail)} for field, detail in fields]
    return body


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _render(body: Mapping[str, Any], headers: Mapping[str, str]) -> Response:
    if (identity := trace_id()) is not None:
        body = {**body, "trace_id": identity}
    # ASCII, because a lone surrogate that a client sent may be quoted and has no UTF-8.
    content = json.dumps(body, ensure_ascii=True).encode()
    return Response(content, status_code=body["status"], headers=dict(headers), media_type=MEDIA_TYPE)


def _allowed(request: Request) -> str:
    """All methods of a path (RFC 9110, section 10.2.1), which several routes may share; Starlette names one's."""

    def takes(method: str) -> bool:
        asked = {**request.scope, "method": method}
        return any(route.matches(asked)[0] is Match.FULL for route in request.app.routes)

    return ", ".join(method for method in METHODS if takes(method))


def accepted(state: dict[str, Any], job_id: str) -> None:
    """Have every error that this request still meets tell of the job that it has.

    Args:
        state: Of the request's ASGI scope.
        job_id: Is committed.
    """
    state["job"] = job_id


def job_of(error: Exception, state: Mapping[str, Any]) -> str | None:
    """Id of the job that a client is to look up after an error; none where there is none."""
    found: str | None = getattr(error, "job", None) or state.get("job")
    return found


def request_id(request: Request) -> str:
    """The id that `observe.Observe` gave the request."""
    found: str = request.scope.get("state", {}).get("request_id", "")
    return found


def install(app: FastAPI) -> None:
    """Answer for every error that is raised inside a route. What is unexpected is `observe.Observe`'s."""

    async def serve_error(request: Request, error: ServeError) -> Response:
        request.state.error = error  # for the metrics
        return response(error, request_id(request), job_of(error, request.scope["state"]))

    async def invalid_fields(request: Request, error: InvalidFields) -> Response:
        return response(error, request_id(request))

    async def about_job(request: Request, error: AboutJob) -> Response:
        return response(error.error, request_id(request), error.job_id)

    async def http_error(request: Request, error: HTTPException) -> Response:
        if error.status_code == 405:
            error.headers = {**(error.headers or {}), "Allow": _allowed(request)}
        return response(error, request_id(request))

    async def validation_error(request: Request, error: RequestValidationError) -> Response:
        return response(invalid(error), request_id(request))

    async def gone(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=499)  # nobody reads it; the metrics count it

    app.add_exception_handler(ServeError, serve_error)  # type: ignore[arg-type]
    app.add_exception_handler(InvalidFields, invalid_fields)  # type: ignore[arg-type]
    app.add_exception_handler(AboutJob, about_job)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, http_error)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, validation_error)  # type: ignore[arg-type]
    app.add_exception_handler(ClientDisconnect, gone)  # type: ignore[arg-type]
