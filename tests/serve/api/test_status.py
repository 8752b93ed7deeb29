"""`GET /v1/status`: of everybody, for operators alone."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from fastapi import FastAPI

from serve.jobs.rollouts import Rollout
from serve.jobs.store import JobStore
from tests.serve.api.conftest import TENANT, connected, new_key, problem_of

URL = "/v1/status"
REQUEST = {"prompt": "a brass gear", "steps": 2, "width": 128, "height": 128}


async def asked(app: FastAPI, tenant: str = TENANT) -> httpx.Response:
    async with connected(app, new_key(app.state.context.tenancy, tenant, role="admin")) as client:
        return await client.get(URL)


async def test_an_operator_sees_every_team(app: FastAPI, store: JobStore) -> None:
    for tenant in (TENANT, "other", "other"):
        async with connected(app, new_key(app.state.context.tenancy, tenant)) as client:
            await client.post("/v1/jobs", json=REQUEST)
    body = (await asked(app)).json()
    assert [(line["tenant"], line["waiting"]) for line in body["queue"]] == [("other", 2), (TENANT, 1)]
    assert body["ready"] is True
    assert [one["version"] for one in body["serving"]] == ["3"]
    assert body["oldest"]["job"].startswith("job_")


async def test_another_teams_admin_does_not(app: FastAPI, store: JobStore) -> None:
    assert problem_of(await asked(app, "other"), 403)["detail"].startswith("Only the platform's operators may see this")


async def test_nor_does_a_member_of_the_operators_team(client: httpx.AsyncClient) -> None:
    problem_of(await client.get(URL), 403)


@pytest.mark.parametrize(("operators", "status"), [(("other",), 200), ((), 403), ((TENANT,), 403)])
async def test_operators_are_those_who_are_named(
    make_app: Callable[..., FastAPI], store: JobStore, operators: tuple[str, ...], status: int
) -> None:
    assert (await asked(make_app(operators=operators), "other")).status_code == status


async def test_before_anything_is_served_it_says_so(app: FastAPI, bare_store: JobStore) -> None:
    body = (await asked(app)).json()
    assert (body["ready"], body["serving"], body["oldest"]) == (False, [], None)


async def test_what_keeps_a_champion_from_being_served_is_told(app: FastAPI, store: JobStore) -> None:
    store.rollouts.show(Rollout("controlnet-demo", "failed", "4", "3", "prepare", "IndexError: no"), 3600)
    assert (await asked(app)).json()["rollouts"] == [
        {
            "model": "controlnet-demo",
            "state": "failed",
            "wanted": "4",
            "serving": "3",
            "fault": "prepare",
            "reason": "IndexError: no",
        }
    ]
