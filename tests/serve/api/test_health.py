"""Health and readiness."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest
import sqlalchemy as sa
from anyio import to_thread
from fastapi import FastAPI

from serve.api.health import DEAF_S
from serve.jobs.database import apart
from serve.jobs.rollouts import Rollout
from serve.jobs.signals import SqliteSignals
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


@pytest.fixture
def aside(engine: sa.Engine) -> Iterator[JobStore]:
    """The store over connections of its own."""
    other = apart(engine)
    yield JobStore(other)
    other.dispose()


async def test_health_waits_behind_no_request(
    client: httpx.AsyncClient, app: FastAPI, engine: sa.Engine, aside: JobStore
) -> None:
    """Which have all threads and all connections."""
    app.state.context = replace(app.state.context, health=aside)
    threads = to_thread.current_default_thread_limiter()
    requests = [object() for _ in range(int(threads.available_tokens))]
    connections = [engine.connect() for _ in range(15)]
    for request in requests:
        threads.acquire_on_behalf_of_nowait(request)
    try:
        async with asyncio.timeout(20):
            assert [(await client.get(path)).status_code for path in ("/healthz", "/readyz")] == [200, 200]
    finally:
        for request in requests:
            threads.release_on_behalf_of(request)
        for connection in connections:
            connection.close()


@pytest.mark.parametrize(("seconds", "status"), [(DEAF_S - 1, 200), (DEAF_S + 1, 503)])
async def test_signals_that_are_cut_off_for_long_are_told(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, seconds: float, status: int
) -> None:
    monkeypatch.setattr(SqliteSignals, "cut_off_s", seconds)
    answer = await client.get("/readyz")
    assert answer.status_code == status
    assert ("signals are cut off" in answer.text) is (status == 503)
    assert (await client.get("/healthz")).status_code == 200


async def test_what_keeps_a_model_from_being_served_is_told_without_its_reason(
    bare_client: httpx.AsyncClient, bare_store: JobStore
) -> None:
    """The reason is for operators: who asks here is not known."""
    reason = "No space is left on /srv/secret."
    bare_store.rollouts.show(Rollout("controlnet-demo", "failed", "3", None, "fetch", reason), 3600)
    problem = problem_of(await bare_client.get("/readyz"), 503)
    assert problem["type"] == "/problems/model-not-ready"
    assert problem["detail"] == "No model is served: its bundle can't be fetched; `cnserve status` says more."


async def test_a_version_that_is_wanted_and_not_served_is_named(client: httpx.AsyncClient, store: JobStore) -> None:
    store.rollouts.show(Rollout("controlnet-demo", "failed", "4", "3", "prepare", "no"), 3600)
    answer = {"status": "ready", "model": "controlnet-demo", "version": "3", "wanted": "4"}
    assert (await client.get("/readyz")).json() == answer
