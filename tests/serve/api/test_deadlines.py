"""Priorities, deadlines, and the refusal of those that can't be met."""

from __future__ import annotations

import httpx
import pytest

from serve.errors import DeadlineMissed
from serve.jobs.cost import Cost
from serve.jobs.pace import Pace
from serve.jobs.store import JobStore, ServedModel
from tests.serve.api.conftest import TENANT, Worker, field_of, problem_of
from tests.serve.api.test_jobs import SPEC, URL

SLOW = Pace(fixed=1.0, per_gflop=1.0, gflop=8.0, rows=16)
WANTED = {"prompt": "a gear", "steps": 4}


@pytest.fixture
def queue(store: JobStore, model: ServedModel) -> None:
    """Much work of the same team, and a sampler that was measured."""
    store.paces.keep({"sampler": SLOW})
    for _ in range(20):
        store.submit(TENANT, SPEC, model, cost=Cost(rows=2, gflop=100.0, steps=20, step_gflop=5.0))


async def test_a_job_costs_what_it_asks_for(client: httpx.AsyncClient, store: JobStore) -> None:
    one, two = [(await client.post(URL, json={**WANTED, "n": n})).json()["id"] for n in (1, 2)]
    small, large = store.get(one), store.get(two)
    assert small is not None
    assert large is not None
    assert (small.rows, large.rows) == (2, 4)
    assert large.gflop == pytest.approx(2 * small.gflop)


async def test_a_job_says_when_it_is_wanted(client: httpx.AsyncClient) -> None:
    job = (await client.post(URL, json={**WANTED, "priority": "batch", "deadline_s": 60})).json()
    assert (job["priority"], job["deadline"]) == ("batch", pytest.approx(job["created_at"] + 60))


async def test_without_them_a_job_is_interactive_and_has_time(client: httpx.AsyncClient) -> None:
    job = (await client.post(URL, json=WANTED)).json()
    assert (job["priority"], job["deadline"], job["predicted_s"]) == ("interactive", None, None)


@pytest.mark.parametrize(("field", "value"), [("priority", "urgent"), ("deadline_s", 0), ("deadline_s", 1e9)])
async def test_what_is_no_order_is_refused(client: httpx.AsyncClient, field: str, value: object) -> None:
    assert field_of(await client.post(URL, json={**WANTED, field: value})) == field


@pytest.mark.usefixtures("queue")
async def test_a_deadline_that_cannot_be_met_is_refused_before_there_is_a_job(
    client: httpx.AsyncClient, store: JobStore
) -> None:
    answer = await client.post(URL, json={**WANTED, "deadline_s": 30})
    problem = problem_of(answer, 429)
    assert problem["type"] == "/problems/deadline-unreachable"
    assert "20 jobs are before it" in problem["detail"]
    assert store.counts()["queued"] == 20


@pytest.mark.usefixtures("queue")
async def test_the_refusal_says_after_how_long_it_would_be_met(client: httpx.AsyncClient) -> None:
    answer = await client.post(URL, json={**WANTED, "deadline_s": 30})
    wait_s = int(answer.headers["Retry-After"])
    assert (await client.post(URL, json={**WANTED, "deadline_s": 30 + wait_s - 2})).status_code == 429
    assert (await client.post(URL, json={**WANTED, "deadline_s": 30 + wait_s})).status_code == 202


@pytest.mark.usefixtures("queue")
async def test_what_takes_longer_by_itself_is_no_matter_of_waiting(client: httpx.AsyncClient) -> None:
    answer = await client.post(URL, json={**WANTED, "deadline_s": 0.5})
    assert field_of(answer) == "deadline_s"
    assert "Retry-After" not in answer.headers


@pytest.mark.usefixtures("queue")
async def test_a_queued_job_shows_what_is_predicted(client: httpx.AsyncClient) -> None:
    job = (await client.post(URL, json=WANTED)).json()
    assert job["position"] == 20
    assert job["predicted_s"] > 30


async def test_without_a_measured_sampler_a_deadline_is_accepted(client: httpx.AsyncClient) -> None:
    assert (await client.post(URL, json={**WANTED, "deadline_s": 1e-3})).status_code == 202


async def test_who_waits_hears_that_the_deadline_was_missed(client: httpx.AsyncClient, worker: Worker) -> None:
    worker.fail_with(DeadlineMissed("Too late.").problem())
    answer = await client.post("/v1/images", json={**WANTED, "deadline_s": 60})
    assert problem_of(answer, 504)["type"] == "/problems/deadline-missed"
