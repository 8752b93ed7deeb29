"""Health and readiness."""

from __future__ import annotations

import httpx
import pytest

from serve.api.health import DEAF_S
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
