"""Every error is a problem."""

from __future__ import annotations

import json
import logging

import httpx
import pytest
from fastapi import FastAPI
from starlette.exceptions import HTTPException

from serve import errors
from serve.api import problems
from serve.errors import InvalidRequest, Overloaded, ServeError
from serve.jobs.store import JobStore
from tests.serve.api.conftest import canny, connected, problem_of

URL = "/v1/images"


def test_every_error_of_the_tree_has_a_page() -> None:
    tree = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ServeError)}
    assert {kind.type for kind in tree} == set(problems.KINDS)


def test_the_module_adds_nothing_to_the_tree() -> None:
    """A subclass of a kind would replace it when a job's problem is read back."""
    for kind in problems.KINDS.values():
        assert type(ServeError.from_problem(kind("x").problem())) is kind


async def test_unknown_paths(client: httpx.AsyncClient) -> None:
    assert problem_of(await client.get("/v2/images"), 404)["type"] == "/problems/not-found"


async def test_unknown_methods_keep_their_allow_header(client: httpx.AsyncClient) -> None:
    answer = await client.get(URL)
    problem = problem_of(answer, 405)
    assert problem["type"] == "/problems/method-not-allowed"
    assert answer.headers["allow"] == "POST"


async def test_a_trailing_slash_is_another_path(client: httpx.AsyncClient) -> None:
    problem_of(await client.post(f"{URL}/", json={}), 404)


async def test_every_bad_field_is_named(client: httpx.AsyncClient) -> None:
    request = {"n": 0, "colour": "red", "controls": [canny(strength=3, end=-1)]}
    problem = problem_of(await client.post(URL, json=request), 422)
    assert {error["field"]: error["detail"] for error in problem["errors"]} == {
        "prompt": "is required",
        "n": "must be at least 1",
        "colour": "is not a known field",
        "controls.0.strength": "must be at most 2",
        "controls.0.end": "must be at least 0",
    }


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", URL, {"Content-Type": "application/json"}, 400),
        ("POST", "/v1/keys", {"Authorization": ""}, 401),
        ("GET", "/v1/keys", {}, 403),
        ("GET", "/v2", {}, 404),
        ("PUT", URL, {}, 405),
        ("POST", URL, {"Content-Type": "text/csv"}, 415),
        ("GET", "/v1/jobs?limit=0", {}, 422),
    ],
)
async def test_a_type_leads_to_its_meaning(
    client: httpx.AsyncClient, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    problem = problem_of(await client.request(method, path, headers=headers), status)
    meaning = (await client.get(problem["type"])).json()
    assert (meaning["title"], meaning["status"]) == (problem["title"], status)


async def test_an_unknown_type_is_404(client: httpx.AsyncClient) -> None:
    problem_of(await client.get("/problems/../etc"), 404)
    problem_of(await client.get("/problems/nonsense"), 404)


async def test_what_a_client_said_is_not_said_back_at_length(client: httpx.AsyncClient) -> None:
    problem = problem_of(await client.post(URL, json={"x" * 5000: 1}), 422)
    assert len(json.dumps(problem)) < 2500


async def test_the_unexpected_is_500_without_internals(
    app: FastAPI, store: JobStore, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken() -> None:
        raise RuntimeError("the password is hunter2")

    app.add_api_route("/broken", broken)
    async with connected(app) as client:
        answer = await client.get("/broken")
    problem = problem_of(answer, 500)
    assert "hunter2" not in answer.text
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info is not None
    assert record.__dict__["request_id"] == problem["request_id"]


def test_retry_after_is_a_header_in_whole_seconds() -> None:
    assert problems.response(Overloaded("Later.", retry_after_s=1.2), "id").headers["retry-after"] == "2"


def test_a_field_becomes_an_error() -> None:
    body = json.loads(bytes(problems.response(InvalidRequest("Too much.", field="n"), "id").body))
    assert body["errors"] == [{"field": "n", "detail": "Too much."}]


def test_half_a_surrogate_pair_can_be_quoted() -> None:
    body = bytes(problems.response(InvalidRequest("No \ud800.", field="\udfff"), "id").body)
    assert json.loads(body)["detail"] == "No \ud800."


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "/problems/malformed-request"),
        (404, "/problems/not-found"),
        (405, "/problems/method-not-allowed"),
        (408, "/problems/request-timeout"),
        (415, "/problems/unsupported-content-type"),
        (422, "/problems/invalid-request"),
        (431, "/problems/head-too-large"),
        (501, "about:blank"),
    ],
)
def test_http_errors_of_a_known_kind_get_its_type(status: int, kind: str) -> None:
    body = json.loads(bytes(problems.response(HTTPException(status, "Bad."), "id").body))
    assert (body["type"], body["status"], body["detail"]) == (kind, status, "Bad.")


async def test_all_methods_of_a_path_are_told(client: httpx.AsyncClient) -> None:
    assert (await client.put("/v1/jobs/job_0")).headers["allow"] == "DELETE, GET"
