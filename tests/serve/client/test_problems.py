from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from serve.client.problems import UnexpectedAnswer, from_answer, from_problem
from serve.errors import (
    BodyTooLarge,
    Conflict,
    Forbidden,
    Gone,
    HeadTooLarge,
    Internal,
    InvalidRequest,
    JobFailed,
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
    UnsupportedContentType,
    UnsupportedMedia,
    kinds,
)
from tests.serve.client.conftest import problem

REQUEST = httpx.Request("GET", "http://api.test/v1/jobs?cursor=secret")


def told(answer: httpx.Response) -> BaseException:
    answer.request = REQUEST
    return from_answer(answer)


@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [
        (404, "not-found", NotFound),
        (413, "body-too-large", BodyTooLarge),
        (415, "unsupported-media", UnsupportedMedia),
        (415, "unsupported-content-type", UnsupportedContentType),
        (422, "invalid-request", InvalidRequest),
        (503, "overloaded", Overloaded),
        (504, "timed-out", TimedOut),
    ],
)
def test_a_problem_becomes_the_error_that_it_was(status: int, kind: str, expected: type[ServeError]) -> None:
    error = told(problem(status, kind))
    assert type(error) is expected
    assert str(error) == "no"


def test_all_that_was_said_is_kept() -> None:
    error = told(
        problem(
            422,
            "invalid-request",
            {"Retry-After": "3"},
            errors=[{"field": "steps", "detail": "must be at most 100"}, {"field": "n", "detail": "x"}],
            job="job_1",
        )
    )
    assert isinstance(error, ServeError)
    assert (error.field, error.retry_after_s, error.request_id, error.job) == ("steps", 3.0, "req_1", "job_1")


def test_a_traceback_says_what_to_quote() -> None:
    assert told(problem(500, "internal", job="job_1")).__notes__ == ["request req_1", "job job_1"]


BY_STATUS: dict[int, type[ServeError]] = {
    400: MalformedRequest,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    405: MethodNotAllowed,
    406: NotAcceptable,
    408: RequestTimeout,
    409: Conflict,
    410: Gone,
    413: BodyTooLarge,
    415: UnsupportedMedia,
    422: InvalidRequest,
    429: TooManyRequests,
    431: HeadTooLarge,
    500: Internal,
    503: Overloaded,
    504: TimedOut,
}


@pytest.mark.parametrize("status", [*BY_STATUS, 402, 418, 451, 501, 502])
def test_a_problem_of_a_newer_api_is_known_by_its_status(status: int) -> None:
    error = told(problem(status, "from-the-future"))
    assert type(error) is BY_STATUS.get(status, ServeError)
    assert (str(error), error.status, error.request_id) == ("no", status, "req_1")


def test_each_status_of_the_tree_has_a_class() -> None:
    assert {kind.status for kind in kinds().values()} == set(BY_STATUS)


def test_all_that_a_problem_of_a_newer_api_said_is_kept() -> None:
    fault = {"field": "team", "detail": "is closed", "code": "closed", "bound": 3}
    error = told(problem(403, "team-closed", {"Retry-After": "3"}, errors=[fault], title="Closed", retryable=True))
    assert isinstance(error, Forbidden)
    assert (error.type, error.title, error.field, error.retry_after_s) == ("team-closed", "Closed", "team", 3.0)
    assert error.problem()["type"] == "team-closed"


def test_what_one_problem_said_is_not_said_of_others() -> None:
    told(problem(403, "team-closed", title="Closed"))
    assert (Forbidden.type, Forbidden("x").title) == ("forbidden", "Not allowed")
    assert "team-closed" not in kinds()


@pytest.mark.parametrize("errors", [None, [], ["steps"], {"steps": "no"}])
def test_errors_of_another_shape_name_no_field(errors: Any) -> None:
    error = told(problem(422, "from-the-future", errors=errors))
    assert isinstance(error, InvalidRequest)
    assert error.field is None


def test_a_plain_problem_of_http_is_not_a_failed_job() -> None:
    error = told(problem(501, "", type="about:blank"))
    assert type(error) is ServeError
    assert (error.type, error.status, str(error)) == ("about:blank", 501, "no")


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(502, text="<h1>Bad gateway</h1>", headers={"Content-Type": "text/html"}),
        httpx.Response(404, json={"detail": "Not Found"}),
        httpx.Response(500, content=b"{", headers={"Content-Type": "application/problem+json"}),
        httpx.Response(500, content=b"[]", headers={"Content-Type": "application/problem+json"}),
        httpx.Response(301, headers={"Location": "https://api.test/"}),
    ],
)
def test_what_is_not_the_platforms_is_said_to_be_so(answer: httpx.Response) -> None:
    error = told(answer)
    assert type(error) is UnexpectedAnswer
    assert str(error).startswith(f"GET http://api.test/v1/jobs answered {answer.status_code} with")


@pytest.mark.parametrize("kind", ["unsupported-media", "/problems/unsupported-media"])
def test_a_jobs_own_problem_is_read_in_both_spellings(kind: str) -> None:
    assert type(from_problem({"type": kind, "detail": "x"})) is UnsupportedMedia


def test_a_jobs_unknown_problem_is_a_failed_job() -> None:
    stored: dict[str, Any] = json.loads('{"type": "from-the-future", "detail": "x", "errors": null}')
    error = from_problem(stored)
    assert type(error) is JobFailed
    assert (error.type, str(error)) == ("from-the-future", "x")
