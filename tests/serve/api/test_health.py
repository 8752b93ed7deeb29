"""Health and readiness."""

from __future__ import annotations

import httpx

from serve.jobs.store import JobStore, ServedModel
from tests.serve.api.conftest import problem_of


async def test_alive_whatever_is_served(bare_client: httpx.AsyncClient) -> None:
    assert (await bare_client.get("/healthz")).json() == {"status": "ok"}


async def test_not_ready_until_something_is_served(bare_client: httpx.AsyncClient) -> None:
    assert problem_of(await bare_client.get("/readyz"), 503)["type"] == "/problems/model-not-ready"


async def test_not_ready_while_samplers_load(
    bare_client: httpx.AsyncClient, bare_store: JobStore, model: ServedModel
) -> None:
    """After a restart of everything the pointer still stands, but nothing is loaded."""
    bare_store.set_serving(model)
    assert "being loaded" in problem_of(await bare_client.get("/readyz"), 503)["detail"]


async def test_ready(client: httpx.AsyncClient) -> None:
    assert (await client.get("/readyz")).json() == {"status": "ready", "model": "controlnet-demo", "version": "3"}
