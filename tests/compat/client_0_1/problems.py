"""Answers that are errors: what the platform said becomes the tree of `serve.errors` again.

What it did not say itself is a `ClientError`: nobody answered, or someone else did.

    ClientError
    ├── Unreachable        no answer, after every attempt
    ├── UnexpectedAnswer   not the platform's: a proxy's page, another program, a version that is too new
    └── StreamBroken       a job's events stopped before its end, after every attempt
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from tests.compat.client_0_1.retries import retry_after_s
from tests.compat.client_0_1.errors import (
    BodyTooLarge,
    InvalidRequest,
    MalformedRequest,
    NotAcceptable,
    NotFound,
    Overloaded,
    ServeError,
    UnsupportedMedia,
)

MEDIA_TYPE = "application/problem+json"

_BY_STATUS: Mapping[int, type[ServeError]] = {
    kind.status: kind
    for kind in (BodyTooLarge, InvalidRequest, MalformedRequest, NotAcceptable, NotFound, Overloaded, UnsupportedMedia)
} | {429: Overloaded}


class ClientError(Exception):
    """What the platform did not say itself."""


class Unreachable(ClientError):
    """Nobody answered."""


class UnexpectedAnswer(ClientError):
    """What answered can't be understood."""


class StreamBroken(ClientError):
    """A job's events stopped before its end. The job may go on."""


def from_answer(answer: httpx.Response) -> ServeError | ClientError:
    """The error that an answer of 300 or more is. Its body has been read."""
    body = _json(answer)
    if not isinstance(body, Mapping) or answer.headers.get("Content-Type", "").split(";")[0] != MEDIA_TYPE:
        return unexpected(answer)
    error = from_problem(body, answer.status_code)
    if error is None:
        return unexpected(answer, str(body.get("detail", "")))
    if error.retry_after_s is None:
        error.retry_after_s = retry_after_s(answer)
    return error


def from_problem(problem: Mapping[str, Any], status: int | None = None) -> ServeError | None:
    """An RFC 9457 problem as the error it was.

    Args:
        problem: As the API answers with, or as it stores with a job that failed.
        status: Decides where the type is not one of ours; without it such an error is the `JobFailed` of a job.
    """
    kind = str(problem.get("type", "")).removeprefix("/problems/")
    fields = [error.get("field") for error in problem.get("errors") or ()]
    known = {"field": fields[0] if fields else None, **problem, "type": kind}
    error = ServeError.from_problem(known)
    if error.type != kind and status is not None:
        if status not in _BY_STATUS:
            return None
        error = _BY_STATUS[status](error.detail, field=error.field, retry_after_s=error.retry_after_s)
    error.request_id, error.job = problem.get("request_id"), problem.get("job")
    if error.request_id is not None:
        error.add_note(f"request {error.request_id}")
    if error.job is not None:
        error.add_note(f"job {error.job}")
    return error


def unexpected(answer: httpx.Response, detail: str = "") -> UnexpectedAnswer:
    """Something answered that is not the platform, or not one this client knows."""
    kind = answer.headers.get("Content-Type", "nothing")
    request = answer.request
    return UnexpectedAnswer(
        f"{request.method} {request.url.copy_with(query=None)} answered {answer.status_code} with {kind}"
        f"{f': {detail}' if detail else ', which is not how this platform does'}"
    )


def _json(answer: httpx.Response) -> object:
    try:
        return answer.json()
    except ValueError:
        return None
