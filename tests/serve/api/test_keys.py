"""`/v1/keys` and `/v1/audit`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from serve.jobs.store import JobStore
from serve.tenancy.keys import MOST_KEYS
from tests.serve.api.conftest import TENANT, bearer, connected, field_of, new_key, problem_of

REQUEST = {"name": "the studio's site"}


@pytest.fixture
async def admin(app: FastAPI, store: JobStore) -> AsyncIterator[httpx.AsyncClient]:
    async with connected(app, new_key(app.state.context.tenancy, role="admin")) as client:
        yield client


async def made(admin: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    answer = await admin.post("/v1/keys", json=REQUEST | fields)
    assert answer.status_code == 201, answer.text
    key: dict[str, Any] = answer.json()
    return key


async def test_a_key_that_was_made_opens(admin: httpx.AsyncClient) -> None:
    key = await made(admin, role="viewer")
    answer = await admin.get("/v1/jobs", headers=bearer(key["key"]))
    assert answer.status_code == 200
    assert (key["role"], key["name"], key["expires_at"], key["revoked_at"]) == ("viewer", REQUEST["name"], None, None)


async def test_a_key_is_a_members_where_nothing_is_said(admin: httpx.AsyncClient) -> None:
    assert (await made(admin))["role"] == "member"


async def test_an_answer_with_a_key_is_kept_nowhere(admin: httpx.AsyncClient) -> None:
    answer = await admin.post("/v1/keys", json=REQUEST)
    assert answer.headers["cache-control"] == "no-store"


async def test_a_key_expires_when_it_is_told_to(admin: httpx.AsyncClient) -> None:
    key = await made(admin, expires_in=60)
    assert key["expires_at"] == key["created_at"] + 60


async def test_keys_are_listed_without_their_secrets(admin: httpx.AsyncClient) -> None:
    key = await made(admin)
    answer = await admin.get("/v1/keys")
    assert [item["id"] for item in answer.json()["keys"]][-1] == key["id"]
    assert key["key"][14:] not in answer.text
    assert "hash" not in answer.text


async def test_a_key_is_taken_back(admin: httpx.AsyncClient) -> None:
    key = await made(admin)
    answer = await admin.delete(f"/v1/keys/{key['id']}")
    assert (answer.status_code, answer.json()["revoked_at"] is not None) == (200, True)
    problem_of(await admin.get("/v1/jobs", headers=bearer(key["key"])), 401)
    assert (await admin.delete(f"/v1/keys/{key['id']}")).json() == answer.json()


async def test_a_key_is_rotated_at_once_without_a_body(admin: httpx.AsyncClient) -> None:
    old = await made(admin)
    answer = await admin.post(f"/v1/keys/{old['id']}/rotate")
    assert answer.status_code == 201
    problem_of(await admin.get("/v1/jobs", headers=bearer(old["key"])), 401)
    assert (await admin.get("/v1/jobs", headers=bearer(answer.json()["key"]))).status_code == 200


async def test_or_with_a_grace(admin: httpx.AsyncClient) -> None:
    old = await made(admin)
    await admin.post(f"/v1/keys/{old['id']}/rotate", json={"grace": 600})
    assert (await admin.get("/v1/jobs", headers=bearer(old["key"]))).status_code == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        (REQUEST | {"role": "root"}, "role"),
        (REQUEST | {"expires_in": 0}, "expires_in"),
        (REQUEST | {"expires_in": 1e12}, "expires_in"),
        (REQUEST | {"expires_in": "60"}, "expires_in"),
        (REQUEST | {"tenant": "other"}, "tenant"),
    ],
)
async def test_what_can_not_be_a_key_is_refused(admin: httpx.AsyncClient, body: dict[str, Any], field: str) -> None:
    assert field_of(await admin.post("/v1/keys", json=body)) == field


@pytest.mark.parametrize("grace", [-1, 1e9, "1", None])
async def test_what_can_not_be_a_grace_is_refused(admin: httpx.AsyncClient, grace: object) -> None:
    key = await made(admin)
    assert field_of(await admin.post(f"/v1/keys/{key['id']}/rotate", json={"grace": grace})) == "grace"


async def test_a_body_is_small(admin: httpx.AsyncClient) -> None:
    problem_of(await admin.post("/v1/keys", json=REQUEST | {"name": "x" * 5000}), 413)


async def test_a_body_is_json(admin: httpx.AsyncClient) -> None:
    problem_of(await admin.post("/v1/keys", data=REQUEST), 415)


async def test_one_more_key_than_a_team_may_have_is_409(app: FastAPI, admin: httpx.AsyncClient) -> None:
    for _ in range(MOST_KEYS - 1):
        new_key(app.state.context.tenancy)
    problem_of(await admin.post("/v1/keys", json=REQUEST), 409)


async def test_the_audit_log_is_read_page_by_page(admin: httpx.AsyncClient) -> None:
    key = await made(admin)
    await admin.delete(f"/v1/keys/{key['id']}")
    first = (await admin.get("/v1/audit", params={"limit": 2})).json()
    second = (await admin.get("/v1/audit", params={"limit": 2, "cursor": first["next"]})).json()
    actions = [entry["action"] for page in (first, second) for entry in page["entries"]]
    assert actions == ["key.revoked", "key.created", "key.created", "tenant.added"]
    assert second["next"] is None
    assert first["entries"][0]["actor"].startswith("key:")


async def test_a_cursor_that_is_none_is_refused(admin: httpx.AsyncClient) -> None:
    assert field_of(await admin.get("/v1/audit", params={"cursor": "x"})) == "cursor"


async def test_another_teams_admin_sees_none_of_it(app: FastAPI, admin: httpx.AsyncClient) -> None:
    await made(admin)
    async with connected(app, new_key(app.state.context.tenancy, "other", "admin")) as other:
        keys, log = (await other.get("/v1/keys")).json()["keys"], (await other.get("/v1/audit")).json()["entries"]
    assert (len(keys), [entry["action"] for entry in log]) == (1, ["key.created", "tenant.added"])
    assert TENANT not in str(keys) + str(log)
