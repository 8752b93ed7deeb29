"""From a row to its end: success, failure, cancellation, a deadline, a client that leaves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import Message

from serve.api import ends
from serve.errors import Internal, InvalidRequest, JobFailed, Overloaded
from serve.jobs.database import StoreUnavailable
from serve.jobs.retention import ArtifactsSwept
from serve.jobs.spec import JobSpec
from serve.jobs.store import Job, JobStore
from tests.serve.api.conftest import TENANT, Metrics, Worker, canny, connected, field_of, member_key, problem_of

URL = "/v1/images"
REQUEST = {"prompt": "a gear"}


async def test_a_fault_found_while_annotating_reads_as_if_the_api_had_found_it(
    client: httpx.AsyncClient, worker: Worker
) -> None:
    worker.fail_with(InvalidRequest("The picture is cut short.", field="controls.0.image").problem())
    answer = await client.post(URL, json=REQUEST)
    assert field_of(answer) == "controls.0.image"
    assert answer.json()["job"] == worker.leases[0].job.id
    assert answer.headers["location"] == f"/v1/jobs/{worker.leases[0].job.id}"


@pytest.mark.parametrize(
    ("error", "status"), [(JobFailed("No."), 500), (Internal("No."), 500), (Overloaded("No."), 503)]
)
async def test_a_failed_job_is_a_problem(
    client: httpx.AsyncClient, worker: Worker, error: JobFailed, status: int
) -> None:
    worker.fail_with(error.problem())
    assert problem_of(await client.post(URL, json=REQUEST), status)["type"] == f"/problems/{error.type}"


async def test_an_unknown_kind_of_failure_is_a_failed_job(client: httpx.AsyncClient, worker: Worker) -> None:
    worker.fail_with({"type": "of-the-future", "detail": "Who knows."})
    assert problem_of(await client.post(URL, json=REQUEST), 500)["type"] == "/problems/job-failed"


async def test_a_cancelled_job_is_409(client: httpx.AsyncClient, worker: Worker) -> None:
    worker.fate = worker.cancel
    assert problem_of(await client.post(URL, json=REQUEST), 409)["type"] == "/problems/job-cancelled"


async def test_a_wait_that_is_too_long_is_504_and_the_job_goes_on(
    make_app: Callable[..., FastAPI], store: JobStore, worker: Worker
) -> None:
    worker.fate = worker.hold
    async with connected(make_app(job_timeout=0.05)) as client:
        problem = problem_of(await client.post(URL, json=REQUEST), 504)
    job = store.get(problem["job"], TENANT)
    assert job is not None
    assert job.id in problem["detail"]
    assert not job.cancel_requested
    assert job.state in ("queued", "running")


async def leave_when(event: asyncio.Event, app: FastAPI, headers: Sequence[tuple[bytes, bytes]] = ()) -> list[Message]:
    """Post a request and hang up once `event` is set."""
    body = json.dumps(REQUEST).encode()
    sent: list[Message] = []
    waiting = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Message:
        message: Any = next(waiting, None)
        if message is None:
            await event.wait()
            return {"type": "http.disconnect"}
        return message

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": URL,
        "raw_path": URL.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [
            (b"content-type", b"application/json"),
            (b"authorization", f"Bearer {member_key(app)}".encode()),
            *headers,
        ],
        "client": ("client", 1),
        "server": ("api", 80),
    }
    await app(scope, receive, send)
    return sent


async def test_hanging_up_cancels_a_queued_job(app: FastAPI, store: JobStore) -> None:
    left = asyncio.Event()
    left.set()
    await leave_when(left, app)
    assert store.counts()["cancelled"] == 1


async def test_hanging_up_asks_a_running_job_to_stop(app: FastAPI, store: JobStore, worker: Worker) -> None:
    worker.fate = worker.hold
    await leave_when(worker.claimed, app)
    job = store.get(worker.leases[0].job.id)
    assert job is not None
    assert job.cancel_requested


async def test_hanging_up_is_counted_apart(app: FastAPI, store: JobStore, worker: Worker, metrics: Metrics) -> None:
    worker.fate = worker.hold
    await leave_when(worker.claimed, app)
    assert [(route, status) for _, route, status, _ in metrics.requests] == [(URL, 499)]


async def test_many_wait_at_once(client: httpx.AsyncClient, worker: Worker) -> None:
    answers = await asyncio.gather(*(client.post(URL, json=REQUEST | {"seed": seed}) for seed in range(8)))
    assert [answer.json()["images"][0]["seed"] for answer in answers] == list(range(8))


async def test_the_job_is_pinned_to_what_was_served(client: httpx.AsyncClient, worker: Worker) -> None:
    await client.post(URL, json=REQUEST)
    assert worker.leases[0].job.model.digest == "sha256:" + "ab" * 32


async def test_jobs_are_counted_when_they_are_accepted(
    client: httpx.AsyncClient, worker: Worker, metrics: Metrics
) -> None:
    await client.post(URL, json=REQUEST)
    assert metrics.registry.get_sample_value("cn_jobs_submitted_total", {"tenant": TENANT}) == 1


def refuse(monkeypatch: pytest.MonkeyPatch, call: str, errors: list[Exception]) -> None:
    """Let a call of the store meet these errors first."""
    working = getattr(JobStore, call)

    def failing(*arguments: object, **options: object) -> object:
        if errors:
            raise errors.pop()
        return working(*arguments, **options)

    monkeypatch.setattr(JobStore, call, failing)


async def test_a_store_that_is_away_accepts_nothing_and_says_when_to_come_back(
    client: httpx.AsyncClient, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, "submit", [StoreUnavailable("The store is not reachable.", retry_after_s=2)])
    answer = await client.post(URL, json=REQUEST)
    assert problem_of(answer, 503)["type"] == "/problems/overloaded"
    assert answer.headers["Retry-After"] == "2"
    assert store.counts()["queued"] == 0


async def test_a_store_that_is_away_is_counted(
    client: httpx.AsyncClient, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, "submit", [StoreUnavailable("The store is not reachable.", retry_after_s=2)])
    await client.post(URL, json=REQUEST)
    assert metrics.registry.get_sample_value("cn_store_errors_total") == 1


async def test_a_job_that_was_accepted_is_waited_for_through_an_outage(
    client: httpx.AsyncClient, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ends, "STORE_BACK_S", 0.001)
    away: list[Exception] = [StoreUnavailable("away"), StoreUnavailable("away")]
    refuse(monkeypatch, "ended", away)
    assert (await client.post(URL, json=REQUEST)).status_code == 200
    assert away == []


async def test_pictures_that_were_being_deleted_are_stored_again(
    client: httpx.AsyncClient, worker: Worker, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the put and the row a sweeper takes them, twice."""
    working, sweeps = JobStore.submit, [1, 2]

    def robbed(self: JobStore, tenant: str, spec: JobSpec, *arguments: Any, **options: Any) -> Job:
        if sweeps:
            sweeps.pop()
            store.retention.condemn(list(spec.keys))
            store.retention.swept(store.retention.take(), spec.keys)
        return working(self, tenant, spec, *arguments, **options)

    monkeypatch.setattr(JobStore, "submit", robbed)
    assert (await client.post(URL, json={**REQUEST, "controls": [canny()]})).status_code == 200
    assert sweeps == []


async def test_pictures_that_are_to_be_deleted_are_kept_for_the_job(
    client: httpx.AsyncClient, worker: Worker, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweeper died after it condemned them: nobody waits for the next."""
    working = JobStore.submit

    def condemned(self: JobStore, tenant: str, spec: JobSpec, *arguments: Any, **options: Any) -> Job:
        assert store.retention.condemn(list(spec.keys)) == 1
        return working(self, tenant, spec, *arguments, **options)

    monkeypatch.setattr(JobStore, "submit", condemned)
    assert (await client.post(URL, json={**REQUEST, "controls": [canny()]})).status_code == 200
    assert store.retention.take().keys == ()


async def test_pictures_that_are_deleted_again_and_again_are_503(
    client: httpx.AsyncClient, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, "submit", [ArtifactsSwept({"demo/a.png"}) for _ in range(3)])
    assert problem_of(await client.post(URL, json=REQUEST), 503)["type"] == "/problems/overloaded"
    assert store.counts()["queued"] == 0
