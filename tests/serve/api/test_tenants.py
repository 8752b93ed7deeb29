"""One team's credential against another team's things, on every route that the OpenAPI document has.

A path parameter that is new has no value in `ours` and turns a test red: whoever adds one says here what it names.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.serve.api.conftest import Worker, bearer, canny, connected, field_of, new_key, problem_of

PROMPT = "a gear that nobody else knows of"
NAME = "a key that nobody else knows of"
OWNED = ("job_id", "key_id")
"""Path parameters that name something of a team; others name what all have."""
OPERATORS = ("/v1/status",)
"""These tell of all teams, and answer operators alone."""


@pytest.fixture
async def admin(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Of the team whose things are looked for."""
    async with connected(app, new_key(app.state.context.tenancy, role="admin")) as client:
        yield client


@pytest.fixture
async def other(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """An admin, of another team."""
    async with connected(app, new_key(app.state.context.tenancy, "other", "admin")) as client:
        yield client


@pytest.fixture
async def ours(admin: httpx.AsyncClient, worker: Worker) -> dict[str, str]:
    """What each path parameter may be, of the first team's."""
    request = {"prompt": PROMPT, "controls": [canny()]}
    answer = await admin.post("/v1/images", json=request, headers={"Idempotency-Key": "ours"})
    assert answer.status_code == 200, answer.text
    key = (await admin.post("/v1/keys", json={"name": NAME})).json()
    return {"job_id": answer.json()["job"], "key_id": key["id"], "k": "0", "type": "canny", "kind": "not-found"}


def operations(app: FastAPI) -> list[tuple[str, str, list[str]]]:
    """Method, path and names of the path parameters of every operation, what changes something last."""
    found = [
        (method.upper(), path, re.findall(r"{(\w+)}", path))
        for path, methods in app.openapi()["paths"].items()
        for method in methods
    ]
    return sorted(found, key=lambda operation: ("GET", "POST", "DELETE").index(operation[0]))


async def call(client: httpx.AsyncClient, method: str, path: str, ours: dict[str, str]) -> httpx.Response:
    return await client.request(method, path.format_map(ours))


def test_every_path_parameter_has_a_probe(app: FastAPI) -> None:
    names = {name for _, _, parameters in operations(app) for name in parameters}
    assert names == {*OWNED, "k", "type", "kind"}


async def test_another_teams_things_are_not_found_by_their_names(
    app: FastAPI, admin: httpx.AsyncClient, other: httpx.AsyncClient, ours: dict[str, str]
) -> None:
    probed = [operation for operation in operations(app) if set(OWNED) & set(operation[2])]
    assert len(probed) >= 8
    for method, path, _ in probed:
        problem = problem_of(await call(other, method, path, ours), 404)
        never = problem_of(await call(other, method, path, ours | {"job_id": "job_0", "key_id": "b" * 10}), 404)
        assert problem["detail"] == never["detail"], path  # as what never was
    for method, path, _ in probed:  # the first team finds all of it, so that it was there to be found
        assert (await call(admin, method, path, ours)).is_success, path


async def test_nothing_of_another_team_is_in_any_list(
    app: FastAPI, admin: httpx.AsyncClient, other: httpx.AsyncClient, ours: dict[str, str]
) -> None:
    marks = {PROMPT, NAME, ours["job_id"], ours["key_id"], "demo"}
    shown: set[str] = set()
    for method, path, parameters in operations(app):
        if method != "GET" or set(OWNED) & set(parameters):
            continue
        answer = await call(other, method, path, ours)
        if path in OPERATORS:
            assert answer.status_code == 403
            continue
        assert answer.status_code == 200, path
        text = answer.text.replace("controlnet-demo", "")  # the model, which all may use
        assert not [mark for mark in marks if mark in text], path
        mine = (await call(admin, method, path, ours)).text
        shown |= {mark for mark in marks if mark in mine}
    assert shown >= {PROMPT, NAME, ours["job_id"], ours["key_id"]}


async def test_another_teams_jobs_are_not_counted(
    admin: httpx.AsyncClient, other: httpx.AsyncClient, ours: dict[str, str]
) -> None:
    assert (await other.get("/v1/usage")).json()["usage"] == []
    assert (await admin.get("/v1/usage")).json()["usage"] != []


async def test_another_teams_cursor_leads_nowhere(
    admin: httpx.AsyncClient, other: httpx.AsyncClient, ours: dict[str, str]
) -> None:
    for path, items in (("/v1/jobs", "jobs"), ("/v1/audit", "entries")):
        await admin.post("/v1/jobs", json={"prompt": PROMPT})
        cursor = (await admin.get(path, params={"limit": 1})).json()["next"]
        page = (await other.get(path, params={"cursor": cursor})).json()
        assert ours["job_id"] not in json.dumps(page[items])
        assert NAME not in json.dumps(page[items])


async def test_another_teams_map_steers_nothing(
    admin: httpx.AsyncClient, other: httpx.AsyncClient, ours: dict[str, str]
) -> None:
    (made,) = (await admin.get(f"/v1/jobs/{ours['job_id']}")).json()["control_maps"]
    request: dict[str, Any] = {"prompt": "a gear", "controls": [{"type": "canny", "map": made["id"]}]}
    assert field_of(await other.post("/v1/images", json=request)) == "controls.0.map"
    assert (await admin.post("/v1/images", json=request)).status_code == 200


async def test_another_teams_idempotency_key_is_another_key(other: httpx.AsyncClient, ours: dict[str, str]) -> None:
    answer = await other.post("/v1/jobs", json={"prompt": "mine"}, headers={"Idempotency-Key": "ours"})
    assert answer.status_code == 202
    assert answer.json()["id"] != ours["job_id"]
    assert "idempotent-replayed" not in answer.headers


async def test_a_removed_team_is_let_in_nowhere(app: FastAPI, admin: httpx.AsyncClient, ours: dict[str, str]) -> None:
    app.state.context.tenancy.tenants.apply([], "test", prune=True)
    for method, path, _ in operations(app):
        if path.startswith("/v1"):
            problem_of(await call(admin, method, path, ours), 401)


async def test_a_body_can_not_name_a_team(other: httpx.AsyncClient, ours: dict[str, str]) -> None:
    assert field_of(await other.post("/v1/jobs", json={"prompt": "a gear", "tenant": "demo"})) == "tenant"
    headers = {"X-Tenant": "demo", **bearer(other.headers["authorization"].removeprefix("Bearer "))}
    assert (await other.get("/v1/jobs", params={"tenant": "demo"}, headers=headers)).json()["jobs"] == []
