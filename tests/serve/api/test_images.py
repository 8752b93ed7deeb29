"""`POST /v1/images`: from a request to pictures."""

from __future__ import annotations

import base64
import io
import json
import zipfile

import httpx
import pytest
from PIL import Image

from serve.jobs.artifacts import ArtifactStore
from tests.serve.api.conftest import RANDOM_SEED, TENANT, Worker, b64, canny, field_of, picture, problem_of

URL = "/v1/images"


async def test_a_prompt_alone_is_answered_with_an_image(client: httpx.AsyncClient, worker: Worker) -> None:
    answer = await client.post(URL, json={"prompt": "a gear"})
    assert answer.status_code == 200, answer.text
    (image,) = answer.json()["images"]
    assert Image.open(io.BytesIO(base64.b64decode(image["b64"]))).size == (128, 128)
    assert answer.json()["control_maps"] == []


@pytest.mark.parametrize("url", ["/v1/images", "/v1/jobs"])
async def test_the_documents_examples_work_one_after_the_other(
    client: httpx.AsyncClient, worker: Worker, url: str
) -> None:
    body = (await client.get("/openapi.json")).json()["paths"][url]["post"]["requestBody"]
    examples = body["content"]["application/json"]["examples"]
    assert list(examples) == ["text", "picture", "map", "map_again"]
    for name, example in examples.items():
        answer = await client.post(url, json=example["value"])
        assert answer.status_code in (200, 202), (name, answer.text)


@pytest.mark.parametrize("url", ["/v1/images", "/v1/jobs"])
async def test_the_documents_form_works_with_a_file(client: httpx.AsyncClient, worker: Worker, url: str) -> None:
    body = (await client.get("/openapi.json")).json()["paths"][url]["post"]["requestBody"]
    parts = body["content"]["multipart/form-data"]["schema"]["properties"]
    (file,) = [name for name, part in parts.items() if part.get("format") == "binary"]
    request = ("blob", json.dumps(parts["request"]["examples"][0]), "application/json")  # as Swagger UI sends it
    answer = await client.post(url, files={"request": request, file: ("a.png", picture(), "image/png")})
    assert answer.status_code in (200, 202), answer.text


async def test_defaults_come_from_the_bundle(client: httpx.AsyncClient, worker: Worker) -> None:
    await client.post(URL, json={"prompt": "a gear", "controls": [canny()]})
    spec = worker.spec
    assert (spec.steps, spec.guidance, spec.negative_prompt, spec.sampler) == (12, 5.5, "blurry", "dpmpp_2m")
    assert spec.controls[0].annotator == "canny"
    assert dict(spec.controls[0].parameters) == {"low_threshold": 60.0, "high_threshold": 140.0}
    assert (spec.controls[0].strength, spec.controls[0].start, spec.controls[0].end) == (1.0, 0.0, 1.0)


async def test_what_is_given_is_used(client: httpx.AsyncClient, worker: Worker) -> None:
    request = {
        "prompt": "a gear",
        "negative_prompt": "",
        "n": 2,
        "steps": 7,
        "guidance": 1,
        "seed": 5,
        "width": 160,
        "height": 96,
        "sampler": "ddim",
        "deterministic": True,
        "controls": [canny(parameters={"low_threshold": 10}, strength=0.5, start=0.1, end=0.9, mode="guess")],
    }
    answer = await client.post(URL, json=request)
    spec = worker.spec
    assert (spec.negative_prompt, spec.seeds, spec.steps, spec.guidance) == ("", (5, 6), 7, 1.0)
    assert (spec.width, spec.height, spec.sampler, spec.deterministic) == (160, 96, "ddim", True)
    (control,) = spec.controls
    assert dict(control.parameters) == {"low_threshold": 10.0, "high_threshold": 140.0}
    assert (control.strength, control.start, control.end, control.mode) == (0.5, 0.1, 0.9, "guess")
    used = answer.json()["parameters"]
    assert used["seeds"] == [5, 6]
    assert used["controls"][0]["parameters"] == {"low_threshold": 10.0, "high_threshold": 140.0}
    assert "images" not in used["controls"][0]


async def test_the_answer_names_the_job_the_model_and_the_timings(client: httpx.AsyncClient, worker: Worker) -> None:
    answer = (await client.post(URL, json={"prompt": "a gear"})).json()
    assert answer["job"] == worker.leases[0].job.id
    assert answer["model"] == {"name": "controlnet-demo", "version": "3", "digest": "sha256:" + "ab" * 32}
    assert answer["timings"] == {"sampling": 0.25}


async def test_control_maps_come_apart_from_the_images(client: httpx.AsyncClient, worker: Worker) -> None:
    answer = (await client.post(URL, json={"prompt": "a gear", "n": 2, "controls": [canny()]})).json()
    assert len(answer["images"]) == 2
    assert [(m["type"], m["index"]) for m in answer["control_maps"]] == [("canny", 0)]
    assert base64.b64decode(answer["control_maps"][0]["b64"]).startswith(b"\x89PNG")


@pytest.mark.parametrize("seed", [{}, {"seed": -1}, {"seed": None}])
async def test_a_random_seed_is_told(client: httpx.AsyncClient, worker: Worker, seed: dict[str, int]) -> None:
    answer = (await client.post(URL, json={"prompt": "a gear", "n": 2, **seed})).json()
    assert [image["seed"] for image in answer["images"]] == [RANDOM_SEED, RANDOM_SEED + 1]


async def test_seeds_wrap_at_32_bits(client: httpx.AsyncClient, worker: Worker) -> None:
    answer = (await client.post(URL, json={"prompt": "a gear", "n": 2, "seed": 2**32 - 1})).json()
    assert [image["seed"] for image in answer["images"]] == [2**32 - 1, 0]


async def test_a_ready_map_skips_the_annotator(client: httpx.AsyncClient, worker: Worker) -> None:
    await client.post(URL, json={"prompt": "a gear", "controls": [{"type": "canny", "map": b64(picture())}]})
    assert worker.spec.controls[0].annotator == "none"
    assert dict(worker.spec.controls[0].parameters) == {}


async def test_pictures_are_stored_as_they_came(
    client: httpx.AsyncClient, worker: Worker, artifacts: ArtifactStore
) -> None:
    photo = picture(kind="JPEG")
    await client.post(URL, json={"prompt": "a gear", "controls": [canny(image=b64(photo))]})
    (key,) = worker.spec.controls[0].images
    assert key.endswith(".jpg")
    assert await artifacts.get(key, TENANT) == photo


async def test_a_data_url_is_a_picture(client: httpx.AsyncClient, worker: Worker) -> None:
    url = f"data:image/png;base64,{b64(picture())}"
    answer = await client.post(URL, json={"prompt": "a gear", "controls": [canny(image=url)]})
    assert answer.status_code == 200


async def test_a_list_of_pictures_makes_a_batch(client: httpx.AsyncClient, worker: Worker) -> None:
    pictures = [b64(picture(96, 64)), b64(picture(64, 64)), b64(picture(32, 64))]
    answer = await client.post(URL, json={"prompt": "a gear", "controls": [canny(image=pictures)]})
    assert len(answer.json()["images"]) == 3
    assert [m["index"] for m in answer.json()["control_maps"]] == [0, 1, 2]
    assert len(set(worker.spec.controls[0].images)) == 3


async def test_a_batch_must_fit_n(client: httpx.AsyncClient) -> None:
    answer = await client.post(URL, json={"prompt": "a gear", "n": 3, "controls": [canny(image=[b64(picture())] * 2)]})
    assert field_of(answer) == "controls.0.image"
    assert "give 1 or 3" in answer.json()["detail"]


async def test_files_are_found_by_field_name_and_by_file_name(client: httpx.AsyncClient, worker: Worker) -> None:
    request = {
        "prompt": "a gear",
        "controls": [{"type": "canny", "image": "photo"}, {"type": "sketch", "map": "lines.png"}],
    }
    files = {"photo": ("IMG_1.png", picture(), "image/png"), "other": ("lines.png", picture(64, 64), "image/png")}
    answer = await client.post(URL, data={"request": json.dumps(request)}, files=files)
    assert answer.status_code == 200, answer.text
    assert [m["type"] for m in answer.json()["control_maps"]] == ["canny", "sketch"]


async def test_the_request_part_may_itself_be_a_file(client: httpx.AsyncClient, worker: Worker) -> None:
    files = {"request": ("request.json", b'{"prompt": "a gear"}', "application/json")}
    assert (await client.post(URL, files=files)).status_code == 200


async def test_one_png_when_that_is_accepted(client: httpx.AsyncClient, worker: Worker) -> None:
    answer = await client.post(URL, json={"prompt": "a gear", "seed": 9}, headers={"Accept": "image/png"})
    assert answer.headers["content-type"] == "image/png"
    assert answer.content.startswith(b"\x89PNG")
    assert answer.headers["x-seed"] == "9"
    assert answer.headers["x-job-id"] == worker.leases[0].job.id
    assert answer.headers["x-model-digest"] == "sha256:" + "ab" * 32


async def test_several_images_are_not_one_png(client: httpx.AsyncClient, worker: Worker) -> None:
    answer = await client.post(URL, json={"prompt": "a gear", "n": 2}, headers={"Accept": "image/png"})
    problem_of(answer, 406)
    assert worker.leases == []


async def test_what_nobody_makes_is_not_acceptable(client: httpx.AsyncClient) -> None:
    problem_of(await client.post(URL, json={"prompt": "a gear"}, headers={"Accept": "image/tiff"}), 406)


async def test_a_zip_holds_everything(client: httpx.AsyncClient, worker: Worker) -> None:
    request = {"prompt": "a gear", "n": 2, "seed": 1, "controls": [canny(), {"type": "sketch", "map": b64(picture())}]}
    answer = await client.post(URL, json=request, headers={"Accept": "application/zip"})
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    names = ["image_0.png", "image_1.png", "control/canny.png", "control/sketch.png", "manifest.json"]
    assert archive.namelist() == names
    manifest = json.loads(archive.read("manifest.json"))
    assert [(image["file"], image["seed"]) for image in manifest["images"]] == [("image_0.png", 1), ("image_1.png", 2)]
    assert [m["file"] for m in manifest["control_maps"]] == ["control/canny.png", "control/sketch.png"]
    assert manifest["model"]["digest"] == "sha256:" + "ab" * 32


async def test_nothing_is_accepted_before_a_model_is_served(bare_client: httpx.AsyncClient) -> None:
    answer = await bare_client.post(URL, json={"prompt": "a gear"})
    assert problem_of(answer, 503)["type"] == "/problems/model-not-ready"
    assert answer.headers["retry-after"] == "5"
