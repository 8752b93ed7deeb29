"""Answers that are errors: what the platform said becomes the tree of `serve.errors` again.

What it did not say itself is a `ClientError`: nobody answered, or someone else did.

    ClientError
    ├── Unreachable        no answer, after every attempt
    ├── UnexpectedAnswer   not the platform's: a proxy's page, another program
    └── StreamBroken       a job's events stopped before its end, after every attempt

A newer API has problems of types that are unknown here. They are errors of the class of their status, and a plain
`ServeError` where that has none; `type`, `title` and `status` are as they were said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from serve.client.retries import retry_after_s
from serve.errors import (
    BodyTooLarge,
    Conflict,
    Forbidden,
    Gone,
    HeadTooLarge,
    Internal,
    InvalidRequest,
    MalformedRequest,
    MethodNotAllowed,
    NotAcceptable,
    NotFound,
    Overloaded,
    RequestTimeout,
    ServeError,
    TimedOut,
    TooManyRequests,
    Unauthenticated,
    UnsupportedMedia,
    kinds,
)

MEDIA_TYPE = "application/problem+json"

# The least that a status says. 429 is about what the caller's team may have, and not about how busy the platform is, so
# it is not `Overloaded`; nor is a 500 that is not known to be a job's end a `JobFailed`.
_BY_STATUS: Mapping[int, type[ServeError]] = {
    kind.status: kind
    for kind in (
        MalformedRequest,
        Unauthenticated,
        Forbidden,
        NotFound,
        MethodNotAllowed,
        NotAcceptable,
        RequestTimeout,
        Conflict,
        Gone,
        BodyTooLarge,
        UnsupportedMedia,
        InvalidRequest,
        TooManyRequests,
        HeadTooLarge,
        Internal,
        Overloaded,
        TimedOut,
    )
}


class ClientError(Exception):
    """What the platform did not say itself."""


class Unreachable(ClientError):
    """Nobody answered."""


class UnexpectedAnswer(ClientError):
    """What answered can't be understood."""


class ResultWarning(UserWarning):
    """A part of the request had no effect, or is rarely meant."""


class StreamBroken(ClientError):
    """A job's events stopped before its end. The job may go on."""


def from_answer(answer: httpx.Response) -> ServeError | ClientError:
    """The error that an answer of 300 or more is. Its body has been read."""
    body = _json(answer)
    if not isinstance(body, Mapping) or answer.headers.get("Content-Type", "").split(";")[0] != MEDIA_TYPE:
        return unexpected(answer)
    error = from_problem(body, answer.status_code)
    if error.retry_after_s is None:
        error.retry_after_s = retry_after_s(answer)
    return error


def from_problem(problem: Mapping[str, Any], status: int | None = None) -> ServeError:
    """An RFC 9457 problem as the error it was.

    Args:
        problem: As the API answers with, or as it stores with a job that failed.
        status: Of the answer: decides where the type is not one of ours. Without it such an error is the `JobFailed` of
            a job.
    """
    kind = str(problem.get("type", "")).removeprefix("/problems/")
    fields = [error.get("field") for error in problem.get("errors") or () if isinstance(error, Mapping)]
    known = {"field": fields[0] if fields else None, **problem, "type": kind}
    error = ServeError.from_problem(known)
    if kind not in kinds():
        if status is not None:
            made = _BY_STATUS.get(status, ServeError)
            error = made(error.detail, field=error.field, retry_after_s=error.retry_after_s)
            error.status = status
        error.type, error.title = kind, str(problem.get("title", error.title))
    error.request_id, error.job = problem.get("request_id"), problem.get("job")
    if error.request_id is not None:
        error.add_note(f"request {error.request_id}")
    if error.job is not None:
        error.add_note(f"job {error.job}")
    return error


def unexpected(answer: httpx.Response) -> UnexpectedAnswer:
    """Something answered that is not the platform, or not one this client knows."""
    kind = answer.headers.get("Content-Type", "nothing")
    request = answer.request
    return UnexpectedAnswer(
        f"{request.method} {request.url.copy_with(query=None)} answered {answer.status_code} with {kind}, "
        "which is not how this platform does"
    )


def _json(answer: httpx.Response) -> object:
    try:
        return answer.json()
    except ValueError:
        return None
