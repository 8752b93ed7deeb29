"""One job for each Idempotency-Key, and no job that names bytes which are not there."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from PIL import Image

from serve.api import answers
from serve.api.maps import map_id, map_key
from serve.jobs.artifacts import ArtifactStore
from serve.jobs.database import StoreUnavailable
from serve.jobs.store import JobStore, ServedModel
from tests.serve.api.conftest import TENANT, Worker, b64, canny, connected, field_of, picture, problem_of
from tests.serve.api.test_waiting import leave_when

JOBS, IMAGES = "/v1/jobs", "/v1/images"
KEY = {"Idempotency-Key": "7f0c-1"}
REQUEST = {"prompt": "a gear"}


def count(store: JobStore) -> int:
    return sum(store.counts().values())


async def test_the_same_request_is_the_same_job(client: httpx.AsyncClient, store: JobStore) -> None:
    first, second = [await client.post(JOBS, json=REQUEST, headers=KEY) for _ in range(2)]
    assert first.json()["id"] == second.json()["id"]
    assert (first.status_code, second.status_code) == (202, 202)
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert count(store) == 1


async def test_the_same_request_for_a_job_that_has_ended_is_200(client: httpx.AsyncClient, worker: Worker) -> None:
    job = (await client.post(JOBS, json=REQUEST, headers=KEY)).json()["id"]
    await client.get(f"{JOBS}/{job}/events")
    again = await client.post(JOBS, json=REQUEST, headers=KEY)
    assert (again.status_code, again.json()["state"]) == (200, "succeeded")


async def test_a_random_seed_makes_no_difference(make_app: Callable[..., FastAPI], store: JobStore) -> None:
    seeds = iter(range(5))
    app = make_app()
    app.state.context = replace(app.state.context, random_seed=lambda: next(seeds))
    async with connected(app) as client:
        first, second = [await client.post(JOBS, json={**REQUEST, "seed": -1}, headers=KEY) for _ in range(2)]
    assert first.json()["parameters"]["seed"] == second.json()["parameters"]["seed"] == 0


async def test_another_champion_makes_no_difference(
    client: httpx.AsyncClient, store: JobStore, model: ServedModel
) -> None:
    first = await client.post(JOBS, json=REQUEST, headers=KEY)
    manifest = json.loads(json.dumps(model.manifest))
    manifest["defaults"]["steps"] = 33
    store.set_serving(ServedModel(model.name, "4", "sha256:" + "cd" * 32, manifest, "models:/controlnet-demo/4"))
    second = await client.post(JOBS, json=REQUEST, headers=KEY)
    assert first.json()["id"] == second.json()["id"]


async def test_a_picture_is_its_bytes_however_it_is_sent(client: httpx.AsyncClient, store: JobStore) -> None:
    photo = picture()
    inline = await client.post(JOBS, json={**REQUEST, "controls": [canny(image=b64(photo))]}, headers=KEY)
    request = {**REQUEST, "controls": [{"type": "canny", "image": "it"}]}
    files = {"it": ("a.png", photo, "image/png")}
    beside = await client.post(JOBS, data={"request": json.dumps(request)}, files=files, headers=KEY)
    assert inline.json()["id"] == beside.json()["id"]


OTHERS: Sequence[dict[str, Any]] = [
    {"prompt": "another gear"},
    {**REQUEST, "n": 2},
    {**REQUEST, "seed": 0},
    {**REQUEST, "controls": [canny()]},
    {**REQUEST, "controls": [canny(image=b64(picture(64, 64)))]},
    {**REQUEST, "controls": [{"type": "canny", "map": canny()["image"]}]},
    {**REQUEST, "controls": [canny(parameters={"low_threshold": 61})]},
]


@pytest.mark.parametrize("other", OTHERS, ids=str)
async def test_another_request_is_told_so(client: httpx.AsyncClient, store: JobStore, other: dict[str, Any]) -> None:
    for first in [REQUEST, *OTHERS]:
        if first is not other:
            key = {"Idempotency-Key": f"{OTHERS.index(first) if first in OTHERS else 'x'}"}
            await client.post(JOBS, json=first, headers=key)
            answer = await client.post(JOBS, json=other, headers=key)
            assert field_of(answer) == "Idempotency-Key"
            assert answer.json()["type"] == "/problems/idempotency-mismatch"
    assert count(store) == len(OTHERS)


async def test_another_way_in_is_another_request(client: httpx.AsyncClient, worker: Worker) -> None:
    await client.post(JOBS, json=REQUEST, headers=KEY)
    assert problem_of(await client.post(IMAGES, json=REQUEST, headers=KEY), 422)["type"].endswith("mismatch")


async def test_of_many_at_once_one_is_the_job(client: httpx.AsyncClient, store: JobStore) -> None:
    answers = await asyncio.gather(*(client.post(JOBS, json=REQUEST, headers=KEY) for _ in range(12)))
    accepted = [answer for answer in answers if answer.status_code == 202]
    assert count(store) == 1
    assert accepted
    assert len({answer.json()["id"] for answer in accepted}) == 1
    for answer in answers:
        if answer not in accepted:
            assert problem_of(answer, 409)["type"] == "/problems/idempotency-in-flight"


async def test_a_key_whose_request_is_being_accepted_is_409(client: httpx.AsyncClient, store: JobStore) -> None:
    store.idempotency.reserve(TENANT, "7f0c-1", await fingerprint(client, store))
    answer = await client.post(JOBS, json=REQUEST, headers=KEY)
    assert problem_of(answer, 409)["type"] == "/problems/idempotency-in-flight"
    assert answer.headers["retry-after"] == "1"


async def fingerprint(client: httpx.AsyncClient, store: JobStore) -> str:
    """Of REQUEST, as the api sees it."""
    seen: list[str] = []
    reserve = store.idempotency.reserve

    def watch(tenant: str, key: str, fingerprint: str) -> Any:
        seen.append(fingerprint)
        return reserve(tenant, key, fingerprint)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(store.idempotency), "reserve", staticmethod(watch))
        await client.post(JOBS, json=REQUEST, headers={"Idempotency-Key": "another"})
    return seen[0]


async def test_a_request_that_was_refused_frees_its_key(client: httpx.AsyncClient, store: JobStore) -> None:
    assert field_of(await client.post(JOBS, json={**REQUEST, "steps": 101}, headers=KEY)) == "steps"
    assert (await client.post(JOBS, json=REQUEST, headers=KEY)).status_code == 202


async def test_a_key_is_one_teams(client: httpx.AsyncClient, store: JobStore) -> None:
    store.idempotency.reserve("other", "7f0c-1", "theirs")
    assert (await client.post(JOBS, json=REQUEST, headers=KEY)).status_code == 202


@pytest.mark.parametrize("key", ["", "x" * 256, "two words", "tab\there"])
async def test_what_is_no_key_is_refused(client: httpx.AsyncClient, store: JobStore, key: str) -> None:
    answer = await client.post(JOBS, json=REQUEST, headers={"Idempotency-Key": key})
    assert field_of(answer) == "Idempotency-Key"
    assert count(store) == 0


async def test_images_of_a_key_are_waited_for_again(client: httpx.AsyncClient, worker: Worker) -> None:
    first, second = [await client.post(IMAGES, json=REQUEST, headers=KEY) for _ in range(2)]
    assert first.json() == second.json()
    assert second.headers["idempotent-replayed"] == "true"
    assert len(worker.leases) == 1


async def test_images_of_a_key_that_have_expired_are_gone(
    client: httpx.AsyncClient, worker: Worker, store: JobStore
) -> None:
    await client.post(IMAGES, json=REQUEST, headers=KEY)
    JobStore(store._reads, clock=lambda: 4e9).retention.expire()
    assert problem_of(await client.post(IMAGES, json=REQUEST, headers=KEY), 410)["type"] == "/problems/expired"


async def test_who_gave_a_key_may_hang_up_and_come_back(app: FastAPI, store: JobStore, worker: Worker) -> None:
    worker.fate = worker.hold
    await leave_when(worker.claimed, app, [(b"idempotency-key", b"7f0c-1")])
    job = store.get(worker.leases[0].job.id)
    assert job is not None
    assert not job.cancel_requested


@pytest.mark.parametrize("method", ["serving", "submit"])
async def test_a_store_that_is_away_is_503(
    client: httpx.AsyncClient, store: JobStore, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("The store is away.", retry_after_s=2)

    monkeypatch.setattr(store, method, away)
    answer = await client.post(JOBS, json=REQUEST, headers=KEY)
    assert problem_of(answer, 503)["type"] == "/problems/overloaded"
    assert answer.headers["retry-after"] == "2"


async def test_a_store_that_comes_back_takes_the_request_again(
    client: httpx.AsyncClient, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("The store is away.", retry_after_s=2)

    with monkeypatch.context() as patch:
        patch.setattr(store, "submit", away)
        problem_of(await client.post(JOBS, json=REQUEST, headers=KEY), 503)
    assert (await client.post(JOBS, json=REQUEST, headers=KEY)).status_code == 202


# A job that exists is told of, whatever fails after it was committed.


def away(*_: Any, **__: Any) -> Any:
    raise StoreUnavailable("The store is away.", retry_after_s=2)


async def broken(*_: Any, **__: Any) -> Any:
    raise RuntimeError("a mistake of ours")


def looked_up(answer: httpx.Response, status: int, store: JobStore) -> None:
    """Check that an error names the one job there is."""
    (job,) = store.page(TENANT).jobs
    assert problem_of(answer, status)["job"] == job.id
    assert answer.headers["location"] == f"{JOBS}/{job.id}"


async def test_an_accepted_job_is_202_though_it_cannot_be_said_where_it_stands(
    client: httpx.AsyncClient, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "standing", away)
    answer = await client.post(JOBS, json=REQUEST)
    (job,) = store.page(TENANT).jobs
    assert answer.status_code == 202
    assert (answer.json()["id"], answer.json()["position"]) == (job.id, None)
    assert answer.headers["location"] == f"{JOBS}/{job.id}"


async def test_a_cancelled_job_is_told_though_it_cannot_be_said_where_it_stood(
    client: httpx.AsyncClient, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = (await client.post(JOBS, json=REQUEST)).json()["id"]
    monkeypatch.setattr(store, "standing", away)
    answer = await client.delete(f"{JOBS}/{job}")
    assert (answer.status_code, answer.json()["state"]) == (202, "cancelled")


async def test_images_that_cannot_be_read_are_a_job_to_come_back_for(
    client: httpx.AsyncClient, worker: Worker, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers.Finished, "read", away)
    looked_up(await client.post(IMAGES, json=REQUEST), 503, store)


async def test_a_mistake_of_ours_after_the_commit_tells_of_the_job(
    client: httpx.AsyncClient, worker: Worker, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "render", broken)
    looked_up(await client.post(IMAGES, json=REQUEST), 500, store)


async def test_a_map_that_cannot_be_read_is_a_job_to_come_back_for(
    client: httpx.AsyncClient, worker: Worker, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers.Finished, "read", away)
    looked_up(await client.post("/v1/controls/canny", json={"image": b64(picture())}), 503, store)


async def test_the_job_of_a_key_is_told_though_it_cannot_be_read(
    client: httpx.AsyncClient, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.post(JOBS, json=REQUEST, headers=KEY)
    with monkeypatch.context() as patch:
        patch.setattr(store, "get", away)
        answer = await client.post(JOBS, json=REQUEST, headers=KEY)
    looked_up(answer, 503, store)


async def test_a_job_that_may_have_been_committed_is_told_of(
    client: httpx.AsyncClient, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unheard(*_: Any, **__: Any) -> Any:
        error = StoreUnavailable("The store is away.", retry_after_s=2)
        error.job = "job_0"
        raise error

    monkeypatch.setattr(store, "submit", unheard)
    answer = await client.post(JOBS, json=REQUEST)
    assert problem_of(answer, 503)["job"] == "job_0"
    assert answer.headers["location"] == f"{JOBS}/job_0"


# Maps that were made here.


async def stored_map(artifacts: ArtifactStore, tenant: str = TENANT, png: bytes = picture(64, 96)) -> str:
    return map_id(await artifacts.put(tenant, png, ".png"))


def steered(map_id: str) -> dict[str, Any]:
    return {**REQUEST, "controls": [{"type": "canny", "map": map_id}]}


async def test_a_map_made_here_steers_by_its_id(
    client: httpx.AsyncClient, worker: Worker, artifacts: ArtifactStore
) -> None:
    made = await stored_map(artifacts)
    assert (await client.post(IMAGES, json=steered(made))).status_code == 200
    (control,) = worker.spec.controls
    assert (control.annotator, dict(control.parameters)) == ("none", {})
    assert control.images == (map_key(made, TENANT),)


async def test_a_map_made_here_gives_the_shape(
    client: httpx.AsyncClient, worker: Worker, artifacts: ArtifactStore
) -> None:
    await client.post(IMAGES, json=steered(await stored_map(artifacts)))
    assert (worker.spec.width, worker.spec.height) == (128, 192)


async def test_a_map_of_another_team_is_unknown(client: httpx.AsyncClient, artifacts: ArtifactStore) -> None:
    answer = await client.post(JOBS, json=steered(await stored_map(artifacts, "other")))
    assert field_of(answer) == "controls.0.map"


async def test_a_map_that_is_gone_is_named(client: httpx.AsyncClient) -> None:
    assert field_of(await client.post(JOBS, json=steered(f"map_{'0' * 64}"))) == "controls.0.map"


@pytest.mark.parametrize("text", ["map_", "map_xyz", f"map_{'0' * 63}", f"map_{'0' * 65}", f"MAP_{'0' * 64}"])
async def test_what_is_no_id_of_a_map_is_no_picture(client: httpx.AsyncClient, text: str) -> None:
    assert field_of(await client.post(JOBS, json=steered(text))) == "controls.0.map"


async def test_a_map_is_no_image(client: httpx.AsyncClient, artifacts: ArtifactStore) -> None:
    request = {**REQUEST, "controls": [{"type": "canny", "image": await stored_map(artifacts)}]}
    assert field_of(await client.post(JOBS, json=request)) == "controls.0.image"


async def test_a_repeat_outlives_its_map(client: httpx.AsyncClient, store: JobStore, artifacts: ArtifactStore) -> None:
    made = await stored_map(artifacts)
    request = steered(made)
    first = await client.post(JOBS, json=request, headers=KEY)
    await artifacts.delete(lambda: [map_key(made, TENANT) or ""])
    assert (await client.post(JOBS, json=request, headers=KEY)).json()["id"] == first.json()["id"]


async def test_a_short_list_of_ids_does_not_fill_the_memory(
    make_app: Callable[..., FastAPI], store: JobStore, artifacts: ArtifactStore
) -> None:
    ids = [await stored_map(artifacts, png=noise()) for _ in range(3)]
    async with connected(make_app(max_body=8000)) as client:
        answer = await client.post(JOBS, json={**REQUEST, "controls": [{"type": "canny", "map": ids}]})
    assert "8000 bytes" in problem_of(answer, 422)["detail"]


def noise() -> bytes:
    """About 4 KiB that no two calls share."""
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(buffer, "PNG")
    return buffer.getvalue()
