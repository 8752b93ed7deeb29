"""`/v1/jobs`: submit, list, look up, cancel."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from serve.errors import InvalidRequest
from serve.jobs.spec import ControlSpec, JobSpec
from serve.jobs.store import JobResult, JobStore, ServedModel, StoredImage, StoredMap
from tests.serve.api.conftest import TENANT, Worker, canny, connected, field_of, picture, problem_of

URL = "/v1/jobs"
SPEC = JobSpec("a gear", "", (1,), steps=5, guidance=1.0, width=64, height=64)
DIGEST = "c0" * 32


async def test_a_job_is_accepted_and_says_where_it_is(client: httpx.AsyncClient, store: JobStore) -> None:
    answer = await client.post(URL, json={"prompt": "a gear"})
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert (job["state"], job["kind"], job["n"], job["position"]) == ("queued", "images", 1, 0)
    assert answer.headers["location"] == job["links"]["self"] == f"/v1/jobs/{job['id']}"
    assert store.get(job["id"], TENANT) is not None


async def test_a_job_may_come_with_files(client: httpx.AsyncClient, worker: Worker) -> None:
    request = {"prompt": "a gear", "controls": [{"type": "canny", "image": "photo"}]}
    answer = await client.post(
        URL, data={"request": json.dumps(request)}, files={"photo": ("p.png", picture(), "image/png")}
    )
    assert answer.status_code == 202
    await worker.claimed.wait()
    assert worker.spec.controls[0].annotator == "canny"


async def test_a_job_is_checked_as_images_are(client: httpx.AsyncClient, store: JobStore) -> None:
    assert field_of(await client.post(URL, json={"prompt": "a gear", "steps": 101})) == "steps"
    assert store.counts()["queued"] == 0


async def test_a_job_shows_its_parameters_as_used(client: httpx.AsyncClient) -> None:
    used = (await client.post(URL, json={"prompt": "a gear", "controls": [canny()], "seed": 4})).json()["parameters"]
    assert (used["seeds"], used["steps"], used["negative_prompt"]) == ([4], 12, "blurry")
    assert used["controls"][0]["parameters"] == {"low_threshold": 60.0, "high_threshold": 140.0}
    assert "images" not in used["controls"][0]


async def test_a_webhook_on_a_host_that_is_not_allowed_is_refused(client: httpx.AsyncClient, store: JobStore) -> None:
    answer = await client.post(URL, json={"prompt": "a gear", "webhook": {"url": "https://hooks.example.com/x"}})
    assert field_of(answer) == "webhook.url"
    assert store.counts()["queued"] == 0


async def test_a_webhook_on_an_allowed_host_is_kept_with_the_job(
    make_app: Callable[..., FastAPI], store: JobStore
) -> None:
    url = "https://hooks.example.com/done"
    async with connected(make_app(webhook_hosts=("hooks.example.com",))) as client:
        answer = await client.post(URL, json={"prompt": "a gear", "webhook": {"url": url}})
    job = store.get(answer.json()["id"])
    assert job is not None
    assert job.webhook == url


async def test_a_queued_job(client: httpx.AsyncClient, store: JobStore, model: ServedModel) -> None:
    store.submit(TENANT, SPEC, model)
    job = store.submit(TENANT, SPEC, model)
    answer = (await client.get(f"{URL}/{job.id}")).json()
    assert (answer["id"], answer["state"], answer["attempt"], answer["position"]) == (job.id, "queued", 0, 1)
    assert answer["model"]["digest"] == model.digest
    assert answer["progress"] is answer["error"] is answer["started_at"] is answer["expires_at"] is None
    assert answer["images"] == answer["control_maps"] == []


async def test_a_running_job_shows_its_progress(client: httpx.AsyncClient, store: JobStore, model: ServedModel) -> None:
    job = store.submit(TENANT, SPEC, model)
    (lease,) = store.claim("worker", 30, 1)
    store.progress([(lease, {"steps": [3], "of": 5, "preview": "data:..."})])
    answer = (await client.get(f"{URL}/{job.id}")).json()
    assert (answer["state"], answer["progress"]) == ("running", {"steps": [3], "of": 5})
    assert answer["position"] is None


async def test_a_job_that_succeeded_has_done_all_its_steps(
    client: httpx.AsyncClient, store: JobStore, model: ServedModel
) -> None:
    job = store.submit(TENANT, SPEC, model)
    (lease,) = store.claim("worker", 30, 1)
    store.progress([(lease, {"steps": [3], "of": 5})])
    store.succeed(lease, JobResult((StoredImage("demo/ab/cd.png", 1, 64, 64),), (), {}))
    answer = (await client.get(f"{URL}/{job.id}")).json()
    assert (answer["state"], answer["progress"]) == ("succeeded", {"steps": [5], "of": 5})


async def test_a_running_job_shows_what_is_done(client: httpx.AsyncClient, store: JobStore, model: ServedModel) -> None:
    job = store.submit(TENANT, SPEC, model)
    (lease,) = store.claim("worker", 30, 1)
    store.annotated(lease, [StoredMap(f"demo/c0/{DIGEST}.png", "canny", 0)])
    store.image_done(lease, 0, StoredImage("demo/ab/cd.png", 1, 64, 64))
    answer = (await client.get(f"{URL}/{job.id}")).json()
    assert answer["images"] == [{"index": 0, "seed": 1, "width": 64, "height": 64, "url": f"{URL}/{job.id}/images/0"}]
    assert answer["control_maps"] == [
        {"index": 0, "type": "canny", "id": f"map_{DIGEST}", "url": f"{URL}/{job.id}/controls/0"}
    ]


async def test_an_image_made_again_is_shown_once(
    client: httpx.AsyncClient, store: JobStore, model: ServedModel
) -> None:
    job = store.submit(TENANT, SPEC, model)
    for key in ("demo/aa/first.png", "demo/bb/second.png"):
        (lease,) = store.claim("worker", 30, 1)
        store.image_done(lease, 0, StoredImage(key, 1, 64, 64))
        store.retry(lease, {})
    assert len((await client.get(f"{URL}/{job.id}")).json()["images"]) == 1


async def test_a_failed_job_shows_the_problem_as_an_answer_would(
    client: httpx.AsyncClient, store: JobStore, model: ServedModel
) -> None:
    job = store.submit(TENANT, SPEC, model)
    (lease,) = store.claim("worker", 30, 1)
    store.fail(lease, InvalidRequest("Cut short.", field="controls.0.image").problem())
    answer = (await client.get(f"{URL}/{job.id}")).json()
    assert (answer["state"], answer["error"]["type"]) == ("failed", "/problems/invalid-request")
    assert answer["error"]["errors"] == [{"field": "controls.0.image", "detail": "Cut short."}]


async def test_a_job_that_succeeded_says_when_its_result_goes(client: httpx.AsyncClient, worker: Worker) -> None:
    job = (await client.post("/v1/images", json={"prompt": "a gear"})).json()["job"]
    answer = (await client.get(f"{URL}/{job}")).json()
    assert (answer["state"], answer["timings"]) == ("succeeded", {"sampling": 0.25})
    assert answer["expires_at"] > answer["finished_at"]


async def test_another_teams_job_is_not_found(client: httpx.AsyncClient, store: JobStore, model: ServedModel) -> None:
    job = store.submit("other", SPEC, model)
    for path in ("", "/events", "/images/0", "/controls/0", "/archive"):
        problem_of(await client.get(f"{URL}/{job.id}{path}"), 404)


@pytest.mark.parametrize("job_id", ["job_0", "..%2f..", "%00", "x" * 4000, "%ff"])
async def test_no_such_job(client: httpx.AsyncClient, job_id: str) -> None:
    problem_of(await client.get(f"{URL}/{job_id}"), 404)


async def test_a_queued_job_is_cancelled_at_once(
    client: httpx.AsyncClient, store: JobStore, model: ServedModel
) -> None:
    job = store.submit(TENANT, SPEC, model)
    answer = await client.delete(f"{URL}/{job.id}")
    assert (answer.status_code, answer.json()["state"]) == (202, "cancelled")


async def test_a_running_job_is_asked_to_stop(client: httpx.AsyncClient, store: JobStore, model: ServedModel) -> None:
    job = store.submit(TENANT, SPEC, model)
    store.claim("worker", 30, 1)
    answer = await client.delete(f"{URL}/{job.id}")
    assert (answer.status_code, answer.json()["state"]) == (202, "running")
    assert store.cancel_requests("worker") == [job.id]


async def test_a_job_that_has_ended_stays_as_it_is(client: httpx.AsyncClient, worker: Worker) -> None:
    job = (await client.post("/v1/images", json={"prompt": "a gear"})).json()["job"]
    answer = await client.delete(f"{URL}/{job}")
    assert (answer.status_code, answer.json()["state"]) == (200, "succeeded")


async def test_another_teams_job_is_not_cancelled(
    client: httpx.AsyncClient, store: JobStore, model: ServedModel
) -> None:
    job = store.submit("other", SPEC, model)
    problem_of(await client.delete(f"{URL}/{job.id}"), 404)
    assert store.counts()["queued"] == 1


async def pages(client: httpx.AsyncClient, between: Callable[[], Any] = lambda: None, **query: Any) -> list[list[str]]:
    found, cursor = [], None
    while True:
        answer = (await client.get(URL, params=query | ({"cursor": cursor} if cursor else {}))).json()
        found.append([job["id"] for job in answer["jobs"]])
        cursor = answer["next"]
        if cursor is None:
            return found
        between()


async def test_jobs_are_listed_newest_first(client: httpx.AsyncClient, store: JobStore, model: ServedModel) -> None:
    for _ in range(5):
        store.submit(TENANT, SPEC, model)
    listed = (await client.get(URL)).json()
    ages = [(job["created_at"], job["id"]) for job in listed["jobs"]]
    assert ages == sorted(ages, reverse=True)
    assert listed["next"] is None


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 50])
async def test_pages_show_each_job_once_while_jobs_are_added(
    client: httpx.AsyncClient, store: JobStore, model: ServedModel, limit: int
) -> None:
    jobs = [store.submit(TENANT, SPEC, model).id for _ in range(7)]
    turned = await pages(client, lambda: store.submit(TENANT, SPEC, model), limit=limit)
    shown = [job for page in turned for job in page]
    assert sorted(shown) == sorted(jobs)


async def test_a_page_has_as_many_as_asked(client: httpx.AsyncClient, store: JobStore, model: ServedModel) -> None:
    for _ in range(5):
        store.submit(TENANT, SPEC, model)
    assert [len(page) for page in await pages(client, limit=2)] == [2, 2, 1]


async def test_jobs_are_listed_by_state(client: httpx.AsyncClient, store: JobStore, model: ServedModel) -> None:
    for _ in range(3):
        store.submit(TENANT, SPEC, model)
    running, ended = store.claim("worker", 30, 2)
    store.cancelled(ended)
    both = await client.get(URL, params={"state": ["running", "cancelled"]})
    assert {job["id"] for job in both.json()["jobs"]} == {running.job.id, ended.job.id}


async def test_another_teams_jobs_are_not_listed(
    client: httpx.AsyncClient, store: JobStore, model: ServedModel
) -> None:
    store.submit("other", SPEC, model)
    assert (await client.get(URL)).json() == {"jobs": [], "next": None}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 201}, "limit"),
        ({"limit": "x"}, "limit"),
        ({"state": "asleep"}, "state.0"),
        ({"cursor": "nonsense"}, "cursor"),
        ({"cursor": "W10"}, "cursor"),
        ({"cursor": "x" * 5000}, "cursor"),
    ],
)
async def test_what_is_no_page_is_named(client: httpx.AsyncClient, query: dict[str, Any], field: str) -> None:
    assert field_of(await client.get(URL, params=query)) == field


async def test_a_job_without_images_shows_its_control_only(
    client: httpx.AsyncClient, store: JobStore, model: ServedModel
) -> None:
    control = ControlSpec("canny", "canny", ("demo/ab/in.png",), {"low_threshold": 60.0})
    job = store.submit(TENANT, JobSpec("", "", (), 0, 1.0, 64, 96, controls=(control,)), model)
    answer = (await client.get(f"{URL}/{job.id}")).json()
    assert (answer["kind"], answer["n"]) == ("map", 0)
    assert set(answer["parameters"]) == {"width", "height", "controls"}
