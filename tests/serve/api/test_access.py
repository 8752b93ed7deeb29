"""Who may do what: every route in the table, every role at its border, and nobody without a credential."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from serve.api.access import NEEDED
from serve.jobs.database import StoreUnavailable
from serve.jobs.store import JobStore
from serve.tenancy.keys import Keys
from serve.tenancy.principal import ROLES
from serve.tenancy.tenancy import Tenancy
from serve.tenancy.tenants import Tenant
from tests.serve.api.conftest import TENANT, bearer, connected, new_key, problem_of

PUBLIC = {("GET", "/"), ("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/problems/{kind}")}
URL = "/v1/models"


@pytest.fixture
def tenancy(app: FastAPI) -> Tenancy:
    found: Tenancy = app.state.context.tenancy
    return found


@pytest.fixture
async def stranger(app: FastAPI, store: JobStore) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a credential."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        yield client


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


async def call(client: httpx.AsyncClient, method: str, path: str, **how: Any) -> httpx.Response:
    return await client.request(method, path.replace("{k}", "0").replace("{", "").replace("}", ""), **how)


def test_every_route_has_a_role_and_every_role_a_route(app: FastAPI) -> None:
    assert {(method, path) for method, path, _ in operations(app.openapi())} == set(NEEDED)


def test_these_routes_are_public_and_no_others(app: FastAPI) -> None:
    assert {route for route, role in NEEDED.items() if role is None} == PUBLIC


def test_openapi_says_so(app: FastAPI) -> None:
    document = app.openapi()
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    for method, path, operation in operations(document):
        role = NEEDED[method, path]
        assert operation.get("security") == (None if role is None else [{"key": []}])
        assert ({"401", "403", "429"} <= set(operation["responses"])) == (role is not None)
        assert (f"Role: `{role}`." in operation["description"]) == (role is not None)


@pytest.mark.parametrize(("method", "path"), sorted(set(NEEDED) - PUBLIC))
async def test_nobody_gets_in_without_a_credential(stranger: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await call(stranger, method, path)
    assert problem_of(answer, 401)["type"] == "/problems/unauthenticated"
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "path", ["/", "/healthz", "/readyz", "/problems/not-found", "/docs", "/assets/0/page.css", "/openapi.json"]
)
async def test_anybody_may_look_at_these(stranger: httpx.AsyncClient, path: str) -> None:
    assert (await stranger.get(path)).status_code == 200


@pytest.mark.parametrize(("method", "path"), sorted(set(NEEDED) - PUBLIC))
async def test_a_role_that_is_too_low_is_403_and_the_next_is_not(
    app: FastAPI, store: JobStore, tenancy: Tenancy, method: str, path: str
) -> None:
    needed = NEEDED[method, path]
    assert needed is not None
    for role in ROLES:
        async with connected(app, new_key(tenancy, role=role)) as client:
            answer = await call(client, method, path)
        if ROLES.index(role) < ROLES.index(needed):
            assert problem_of(answer, 403)["detail"] == f"This needs the role {needed}; yours is {role}."
        else:
            assert answer.status_code not in (401, 403)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic dXNlcjpwYXNz",
        "cn_aaaaaaaaaa_aaaa",
        "Bearer cn_a b",
        "Bearer cn_\u00e9",
        "Bearer a, Bearer b",
    ],
)
async def test_a_malformed_header_is_401(stranger: httpx.AsyncClient, header: str) -> None:
    answer = await stranger.get(URL, headers={"Authorization": header.encode()})
    problem_of(answer, 401)


async def test_two_headers_are_401(stranger: httpx.AsyncClient, tenancy: Tenancy) -> None:
    header = ("Authorization", f"Bearer {new_key(tenancy)}")
    problem_of(await stranger.get(URL, headers=[header, header]), 401)


async def test_the_schemes_case_does_not_matter(stranger: httpx.AsyncClient, tenancy: Tenancy) -> None:
    answer = await stranger.get(URL, headers={"Authorization": f"bEaReR {new_key(tenancy)}"})
    assert answer.status_code == 200


async def test_unknown_revoked_and_removed_read_alike(stranger: httpx.AsyncClient, tenancy: Tenancy) -> None:
    revoked, removed = new_key(tenancy), new_key(tenancy, "other")
    tenancy.keys.revoke(TENANT, revoked[3:13], "test")
    tenancy.tenants.apply([Tenant(TENANT)], "test", prune=True)
    wrong = f"{new_key(tenancy)[:14]}{'a' * 52}"
    keys = [f"cn_{'a' * 10}_{'a' * 52}", "cn_short", wrong, revoked, removed, "opaque", "a.b.c"]
    problems = [problem_of(await stranger.get(URL, headers=bearer(key)), 401) for key in keys]
    assert {problem["detail"] for problem in problems} == {"The key is not valid."}


async def test_who_shows_the_secret_is_told_that_the_key_has_expired(
    stranger: httpx.AsyncClient, tenancy: Tenancy
) -> None:
    key = new_key(tenancy, expires_in_s=-1.0)
    assert problem_of(await stranger.get(URL, headers=bearer(key)), 401)["detail"] == "The key has expired."
    other = bearer(f"{key[:14]}{'a' * 52}")
    assert problem_of(await stranger.get(URL, headers=other), 401)["detail"] == "The key is not valid."


async def test_a_key_is_revoked_at_once(stranger: httpx.AsyncClient, tenancy: Tenancy) -> None:
    key = new_key(tenancy)
    assert (await stranger.get(URL, headers=bearer(key))).status_code == 200
    tenancy.keys.revoke(TENANT, key[3:13], "test")
    assert (await stranger.get(URL, headers=bearer(key))).status_code == 401


async def test_who_asks_is_looked_at_before_the_body(stranger: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    for path in ("/v1/images", "/v1/jobs", "/v1/controls/canny", "/model/generate", "/v1/keys"):
        problem_of(await stranger.post(path, content=endless()), 401)


@pytest.mark.parametrize(
    "name", ["X-Tenant", "X-Forwarded-User", "Tenant", "Cookie", "X-Api-Key", "Proxy-Authorization"]
)
async def test_no_other_header_says_who_asks(stranger: httpx.AsyncClient, tenancy: Tenancy, name: str) -> None:
    problem_of(await stranger.get(URL, headers={name: f"Bearer {new_key(tenancy)}"}), 401)


async def test_a_key_in_the_query_is_none(stranger: httpx.AsyncClient, tenancy: Tenancy) -> None:
    problem_of(await stranger.get(URL, params={"access_token": new_key(tenancy), "tenant": TENANT}), 401)


async def test_a_store_that_is_away_is_503_and_lets_nobody_in(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise StoreUnavailable("The store is not reachable.", retry_after_s=2)

    monkeypatch.setattr(Keys, "holder", away)
    answer = await client.get(URL)
    problem_of(answer, 503)
    assert answer.headers["retry-after"] == "2"


async def test_the_log_says_which_team_asked(client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "serve.api"):
        await client.get(URL)
        await client.get(URL, headers={"Authorization": "Bearer x"})
    assert [getattr(record, "tenant", None) for record in caplog.records if record.message == "request"] == [
        TENANT,
        None,
    ]


async def test_anonymous_is_a_member_of_the_team_that_is_named(
    make_app: Callable[..., FastAPI], store: JobStore
) -> None:
    app = make_app(anonymous="dev")
    app.state.context.tenancy.tenants.apply([Tenant("dev")], "test")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        assert (await client.get("/v1/jobs")).status_code == 200
        problem_of(await client.get("/v1/keys"), 403)
        problem_of(await client.get("/v1/jobs", headers=bearer("cn_wrong")), 401)


async def test_a_team_that_is_named_and_not_declared_is_none(make_app: Callable[..., FastAPI], store: JobStore) -> None:
    transport = httpx.ASGITransport(make_app(anonymous="dev"))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        assert problem_of(await client.get("/v1/jobs"), 403)["detail"] == "Your team is not declared here."


async def test_the_documentation_names_no_tenant(stranger: httpx.AsyncClient, tenancy: Tenancy) -> None:
    tenancy.tenants.apply([Tenant("secret-customer")], "test")
    assert "secret-customer" not in json.dumps((await stranger.get("/openapi.json")).json())


async def test_a_route_that_is_not_in_the_table_answers_nobody(app: FastAPI, store: JobStore, tenancy: Tenancy) -> None:
    @app.get("/v1/forgotten")
    async def forgotten() -> str:
        return "forgotten"

    async with connected(app, new_key(tenancy, role="admin")) as client:
        answer = await client.get("/v1/forgotten")
    assert answer.status_code == 500
    assert "forgotten" not in answer.text
