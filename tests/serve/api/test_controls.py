"""`/v1/controls`: what there is, and maps made for their own sake."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import httpx
import pytest

from controlnet.annotators import ANNOTATORS
from serve.api.maps import map_key
from serve.jobs.store import JobStore
from tests.serve.api.conftest import TENANT, Worker, b64, field_of, picture, problem_of


async def test_controls_have_the_bundles_defaults(client: httpx.AsyncClient) -> None:
    canny, sketch = (await client.get("/v1/controls")).json()["controls"]
    assert (canny["type"], canny["annotator"], canny["description"]) == ("canny", "canny", "Edges.")
    low, high = canny["parameters"]
    assert (low["name"], low["minimum"], low["maximum"], low["default"]) == ("low_threshold", 1.0, 255.0, 60.0)
    assert (high["name"], high["default"]) == ("high_threshold", 140.0)
    assert (sketch["annotator"], sketch["parameters"]) == ("none", [])


async def test_all_annotators_are_listed(client: httpx.AsyncClient) -> None:
    annotators = (await client.get("/v1/controls")).json()["annotators"]
    assert {annotator["name"] for annotator in annotators} == set(ANNOTATORS)
    assert all(annotator["description"] for annotator in annotators)


async def test_annotators_are_there_before_any_control(bare_client: httpx.AsyncClient) -> None:
    answer = (await bare_client.get("/v1/controls")).json()
    assert answer["controls"] == []
    assert answer["annotators"]


URL = "/v1/controls/canny"
PHOTO = {"image": ("photo.png", picture(), "image/png")}


async def test_a_picture_becomes_a_map(client: httpx.AsyncClient, worker: Worker) -> None:
    answer = await client.post(URL, files=PHOTO)
    assert answer.status_code == 200, answer.text
    made = answer.json()
    assert (made["type"], made["width"], made["height"]) == ("canny", 192, 128)
    assert made["parameters"] == {"low_threshold": 60.0, "high_threshold": 140.0}
    assert made["id"] == f"map_{hashlib.sha256(base64.b64decode(made['b64'])).hexdigest()}"
    assert made["job"] == worker.leases[0].job.id


async def test_the_documents_examples_work(client: httpx.AsyncClient, worker: Worker) -> None:
    document = (await client.get("/openapi.json")).json()
    operation = document["paths"]["/v1/controls/{type}"]["post"]
    (type_,) = [parameter for parameter in operation["parameters"] if parameter["name"] == "type"]
    url = f"/v1/controls/{type_['examples']['canny']['value']}"
    parts = operation["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    (request,) = parts["request"]["examples"]
    answer = await client.post(url, files=PHOTO | {"request": ("blob", json.dumps(request), "application/json")})
    assert answer.status_code == 200, answer.text
    (request,) = document["components"]["schemas"]["MapRequest"]["examples"]
    answer = await client.post(url, json=request)
    assert answer.status_code == 200, answer.text


async def test_a_map_is_a_job_without_images(client: httpx.AsyncClient, worker: Worker) -> None:
    answer = await client.post(URL, files=PHOTO)
    assert (worker.spec.kind, worker.spec.n, worker.spec.prompt) == ("map", 0, "")
    job = (await client.get(answer.headers["location"])).json()
    assert (job["kind"], job["n"], job["images"]) == ("map", 0, [])
    assert job["control_maps"][0]["id"] == answer.json()["id"]


async def test_a_map_has_the_size_and_parameters_that_are_asked_for(client: httpx.AsyncClient, worker: Worker) -> None:
    request = {"parameters": {"low_threshold": 10}, "width": 160, "height": 96}
    made = (await client.post(URL, files=PHOTO, data={"request": json.dumps(request)})).json()
    assert (made["width"], made["height"], made["parameters"]["low_threshold"]) == (160, 96, 10.0)


async def test_a_picture_may_come_as_json(client: httpx.AsyncClient, worker: Worker) -> None:
    answer = await client.post(URL, json={"image": b64(picture()), "resolution": 64})
    assert (answer.json()["width"], answer.json()["height"]) == (96, 64)


async def test_a_map_may_come_as_png(client: httpx.AsyncClient, worker: Worker) -> None:
    answer = await client.post(URL, files=PHOTO, headers={"Accept": "image/png"})
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-map-id"] == f"map_{hashlib.sha256(answer.content).hexdigest()}"
    assert answer.headers["x-job-id"] == worker.leases[0].job.id


async def test_a_map_is_made_once_and_steers_often(client: httpx.AsyncClient, worker: Worker) -> None:
    made = (await client.post(URL, files=PHOTO)).json()
    for seed in (1, 2):
        request = {"prompt": "a gear", "seed": seed, "controls": [{"type": "canny", "map": made["id"]}]}
        assert (await client.post("/v1/images", json=request)).status_code == 200
        assert worker.spec.controls[0].annotator == "none"


async def test_a_map_outlives_the_sweep_of_what_nothing_holds(
    client: httpx.AsyncClient, worker: Worker, store: JobStore
) -> None:
    made = (await client.post(URL, files=PHOTO)).json()
    assert store.retention.condemn([map_key(made["id"], TENANT) or ""]) == 0


async def test_the_same_map_is_made_once_for_a_key(client: httpx.AsyncClient, worker: Worker) -> None:
    first, second = [await client.post(URL, files=PHOTO, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert first.json() == second.json()
    assert second.headers["idempotent-replayed"] == "true"
    assert len(worker.leases) == 1


async def test_an_unknown_control_is_not_found(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/controls/depth", files=PHOTO)
    assert "canny, sketch" in problem_of(answer, 404)["detail"]


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ({"parameters": {"low_threshold": 0}}, "parameters.low_threshold"),
        ({"parameters": {"blur": 1}}, "parameters.blur"),
        ({"width": 160}, "height"),
        ({"width": 100, "height": 96}, "width"),
        ({"resolution": 1024}, "resolution"),
        ({"prompt": "a gear"}, "prompt"),
        ({"image": "other.png"}, "image"),
    ],
)
async def test_what_is_wrong_is_named_as_it_was_sent(
    client: httpx.AsyncClient, store: JobStore, request_: dict[str, Any], field: str
) -> None:
    answer = await client.post(URL, files=PHOTO, data={"request": json.dumps(request_)})
    assert field_of(answer) == field
    assert store.counts()["queued"] == 0


async def test_no_picture_no_map(client: httpx.AsyncClient) -> None:
    assert field_of(await client.post(URL, json={"resolution": 64})) == "image"


async def test_what_is_no_picture_is_415(client: httpx.AsyncClient) -> None:
    assert field_of(await client.post(URL, files={"image": ("a.gif", b"GIF89a...", "image/gif")}), 415) == "image"


async def test_a_map_is_no_zip(client: httpx.AsyncClient, worker: Worker) -> None:
    problem_of(await client.post(URL, files=PHOTO, headers={"Accept": "application/zip"}), 406)
    assert worker.leases == []
