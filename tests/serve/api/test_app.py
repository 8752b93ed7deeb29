"""The composition: documentation, lifespan, and what is never imported."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import httpx
import sqlalchemy as sa
from fastapi import FastAPI

from serve.api.app import create_app
from serve.config import Settings
from serve.jobs.artifacts import ArtifactStore
from serve.jobs.signals import SqliteSignals
from serve.jobs.store import JobStore
from serve.tenancy.tenancy import Tenancy
from tests.serve.api.conftest import Metrics


def refs(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*(refs(value) for value in node.values()))
    return set().union(*(refs(item) for item in node)) if isinstance(node, list) else set()


def test_neither_torch_nor_ray_is_imported() -> None:
    check = "import sys, serve.api.__main__; print({'torch', 'ray', 'mlflow', 'transformers'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert (found.stdout.strip(), found.stderr) == ("set()", "")


async def test_openapi_describes_every_route(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    assert set(document["paths"]) == {
        "/",
        "/v1/images",
        "/v1/models",
        "/v1/controls",
        "/v1/jobs",
        "/v1/jobs/{job_id}",
        "/v1/jobs/{job_id}/events",
        "/v1/jobs/{job_id}/images/{k}",
        "/v1/jobs/{job_id}/controls/{k}",
        "/v1/jobs/{job_id}/archive",
        "/v1/controls/{type}",
        "/v1/keys",
        "/v1/keys/{key_id}",
        "/v1/keys/{key_id}/rotate",
        "/v1/audit",
        "/v1/status",
        "/v1/usage",
        "/model/generate",
        "/model/health",
        "/healthz",
        "/readyz",
        "/problems/{kind}",
    }
    for operations in document["paths"].values():
        for operation in operations.values():
            assert operation["summary"]
            assert operation["description"]


async def test_openapi_has_no_dangling_reference(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    names = {f"#/components/{kind}/{name}" for kind, parts in document["components"].items() for name in parts}
    assert refs(document) <= names
    assert "#/components/schemas/ImagesRequest" in refs(document)


async def test_openapi_says_which_enums_may_grow(client: httpx.AsyncClient) -> None:
    """Those of answers; a request's are all there is."""
    schemas = (await client.get("/openapi.json")).json()["components"]["schemas"]
    state = schemas["JobAnswer"]["properties"]["state"]
    assert state["x-extensible-enum"] == state["enum"] == ["queued", "running", "succeeded", "failed", "cancelled"]
    assert not any("x-extensible-enum" in member for member in schemas["ImagesRequest"]["properties"].values())


async def test_openapi_tells_the_operators_bounds_and_the_errors_type(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    request = document["components"]["schemas"]["ImagesRequest"]
    assert request["properties"]["steps"]["maximum"] == 100
    assert request["properties"]["controls"]["maxItems"] == 3
    assert request["examples"]
    answers = document["paths"]["/v1/images"]["post"]["responses"]
    assert answers["422"] == {"$ref": "#/components/responses/Problem422"}
    error = document["components"]["responses"]["Problem422"]
    assert error["content"] == {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    assert set(answers["200"]["content"]) == {"application/json", "image/png", "application/zip"}


async def test_openapi_tells_an_error_once_with_the_types_that_it_may_be(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    errors = [answer for each in operations for code, answer in each["responses"].items() if code >= "400"]
    assert all(set(answer) == {"$ref"} for answer in errors)
    described = document["components"]["responses"]
    assert "[`invalid-request`](/problems/invalid-request)" in described["Problem422"]["description"]
    assert set(described["Problem401"]["headers"]) == {"WWW-Authenticate"}
    assert set(described["Problem429"]["headers"]) == {"Retry-After"}


async def test_openapi_describes_the_tags(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    described = {tag["name"] for tag in document["tags"] if tag["description"]}
    assert {
        tag for methods in document["paths"].values() for each in methods.values() for tag in each["tags"]
    } == described


async def test_what_was_opened_is_closed_in_order(
    settings: Settings,
    engine: sa.Engine,
    bare_store: JobStore,
    artifacts: ArtifactStore,
    signals: SqliteSignals,
    metrics: Metrics,
) -> None:
    closed: list[str] = []
    calls = (lambda: closed.append("first"), lambda: closed.append("second"))
    tenancy = Tenancy.over(engine, settings)
    app: FastAPI = create_app(settings, bare_store, tenancy, artifacts, signals, metrics, on_shutdown=calls)
    async with app.router.lifespan_context(app):
        assert closed == []
    assert closed == ["first", "second"]
