"""`GET /v1/jobs/{id}`."""

from __future__ import annotations

import httpx
import pytest

from serve.errors import InvalidRequest
from serve.jobs.spec import JobSpec
from serve.jobs.store import JobStore, ServedModel
from tests.serve.api.conftest import TENANT, problem_of

SPEC = JobSpec("a gear", "", (1,), steps=5, guidance=1.0, width=64, height=64)


async def test_a_queued_job(client: httpx.AsyncClient, store: JobStore, model: ServedModel) -> None:
    job = store.submit(TENANT, SPEC, model)
    answer = (await client.get(f"/v1/jobs/{job.id}")).json()
    assert (answer["id"], answer["state"], answer["attempt"]) == (job.id, "queued", 0)
    assert answer["model"]["digest"] == model.digest
    assert answer["progress"] is answer["error"] is answer["started_at"] is None


async def test_a_running_job_shows_its_progress(client: httpx.AsyncClient, store: JobStore, model: ServedModel) -> None:
    job = store.submit(TENANT, SPEC, model)
    (lease,) = store.claim("worker", 30, 1)
    store.progress(lease, {"steps": [3], "of": 5})
    answer = (await client.get(f"/v1/jobs/{job.id}")).json()
    assert (answer["state"], answer["progress"]) == ("running", {"steps": [3], "of": 5})


async def test_a_failed_job_shows_its_problem(client: httpx.AsyncClient, store: JobStore, model: ServedModel) -> None:
    job = store.submit(TENANT, SPEC, model)
    (lease,) = store.claim("worker", 30, 1)
    store.fail(lease, InvalidRequest("Cut short.", field="controls.0.image").problem())
    answer = (await client.get(f"/v1/jobs/{job.id}")).json()
    assert (answer["state"], answer["error"]["type"]) == ("failed", "invalid-request")


async def test_another_teams_job_is_not_found(client: httpx.AsyncClient, store: JobStore, model: ServedModel) -> None:
    job = store.submit("other", SPEC, model)
    problem_of(await client.get(f"/v1/jobs/{job.id}"), 404)


@pytest.mark.parametrize("job_id", ["job_0", "..%2f..", "%00", "x" * 4000, "%ff"])
async def test_no_such_job(client: httpx.AsyncClient, job_id: str) -> None:
    problem_of(await client.get(f"/v1/jobs/{job_id}"), 404)
