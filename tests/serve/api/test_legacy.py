"""The first demo's contract."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from controlnet.bundle import Manifest
from serve.jobs.store import JobStore, ServedModel
from tests.serve.api.conftest import RANDOM_SEED, Worker, connected, field_of, picture, problem_of

URL = "/model/generate"


def form(image: bytes | None = None, **fields: Any) -> dict[str, Any]:
    files = {"image": ("photo.png", picture() if image is None else image, "image/png")}
    return {"data": {name: str(value) for name, value in fields.items()}, "files": files}


def unzipped(answer: httpx.Response) -> zipfile.ZipFile:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    return zipfile.ZipFile(io.BytesIO(answer.content))


async def test_as_many_images_as_asked_and_the_map_apart(client: httpx.AsyncClient, worker: Worker) -> None:
    archive = unzipped(await client.post(URL, **form(prompt="a gear", num_samples=3)))
    images = ["image_0.png", "image_1.png", "image_2.png"]
    assert archive.namelist() == [*images, "control/canny.png", "parameters.json"]


async def test_defaults_are_the_originals(client: httpx.AsyncClient, worker: Worker) -> None:
    await client.post(URL, **form(prompt="a gear"))
    spec = worker.spec
    assert spec.prompt == "a gear, best quality, extremely detailed"
    assert spec.negative_prompt.startswith("longbody, lowres, bad anatomy")
    assert (spec.steps, spec.guidance, spec.eta, spec.sampler) == (20, 9.0, 0.0, "ddim")
    assert spec.seeds == (RANDOM_SEED,)
    (control,) = spec.controls
    assert (control.type, control.annotator, control.strength, control.mode) == ("canny", "canny", 1.0, "balanced")
    assert dict(control.parameters) == {"low_threshold": 100.0, "high_threshold": 200.0}


async def test_the_resolution_is_the_models(client: httpx.AsyncClient, worker: Worker) -> None:
    await client.post(URL, **form())
    assert (worker.spec.width, worker.spec.height) == (192, 128)


async def test_everything_can_be_set(client: httpx.AsyncClient, worker: Worker) -> None:
    fields = {
        "prompt": "a gear",
        "a_prompt": "sharp",
        "n_prompt": "dull",
        "num_samples": 2,
        "image_resolution": 64,
        "ddim_steps": 5,
        "guess_mode": "true",
        "strength": 1.5,
        "scale": 0.1,
        "seed": 12345,
        "eta": 1.0,
        "low_threshold": 50,
        "high_threshold": 90,
    }
    archive = unzipped(await client.post(URL, **form(**fields)))
    spec = worker.spec
    assert (spec.prompt, spec.negative_prompt, spec.seeds) == ("a gear, sharp", "dull", (12345, 12346))
    assert (spec.width, spec.height, spec.steps, spec.guidance, spec.eta) == (96, 64, 5, 0.1, 1.0)
    assert (spec.controls[0].strength, spec.controls[0].mode) == (1.5, "guess")
    used = json.loads(archive.read("parameters.json"))
    assert {name: used[name] for name in fields if name != "guess_mode"} == {
        name: value for name, value in fields.items() if name != "guess_mode"
    }
    assert used["guess_mode"] is True


async def test_the_parameters_tell_what_the_original_kept_to_itself(client: httpx.AsyncClient, worker: Worker) -> None:
    used = json.loads(unzipped(await client.post(URL, **form(prompt="a gear"))).read("parameters.json"))
    assert used["seed"] == RANDOM_SEED
    assert used["model"]["digest"] == "sha256:" + "ab" * 32
    assert used["job"] == worker.leases[0].job.id
    assert "white edges on black" in used["control_map"]


async def test_no_added_prompt_leaves_no_comma(client: httpx.AsyncClient, worker: Worker) -> None:
    await client.post(URL, **form(prompt="a gear", a_prompt=""))
    assert worker.spec.prompt == "a gear"


@pytest.mark.parametrize(
    ("field", "value", "bound"),
    [
        ("num_samples", 0, "1"),
        ("num_samples", 13, "12"),
        ("image_resolution", 63, "64 .. 192"),
        ("image_resolution", 193, "64 .. 192"),
        ("ddim_steps", 0, "1"),
        ("ddim_steps", 101, "100"),
        ("strength", 2.1, "2"),
        ("strength", "nan", "finite"),
        ("scale", 0.05, "0.1"),
        ("scale", 31, "30"),
        ("seed", -2, "-1"),
        ("seed", 2**31, "2147483647"),
        ("eta", 1.5, "1"),
        ("low_threshold", 0, "1"),
        ("high_threshold", 256, "255"),
        ("prompt", "x" * 1001, "1000"),
        ("prompt", "x" * 990, "1000"),
        ("guess_mode", "perhaps", "boolean"),
        ("ddim_steps", "many", "whole number"),
        ("prompt", "a\x00b", "NUL"),
        ("detect_resolution", 512, "not a known field"),
    ],
)
async def test_out_of_range_is_named(client: httpx.AsyncClient, field: str, value: object, bound: str) -> None:
    answer = await client.post(URL, **form(**{field: value}))
    assert field_of(answer) == field
    assert bound in answer.json()["errors"][0]["detail"]


async def test_the_operators_bounds_have_the_forms_names(make_app: Callable[..., FastAPI], store: JobStore) -> None:
    async with connected(make_app(max_images=2, max_steps=10)) as client:
        assert field_of(await client.post(URL, **form(num_samples=3))) == "num_samples"
        assert field_of(await client.post(URL, **form())) == "ddim_steps"


async def test_the_image_is_required(client: httpx.AsyncClient) -> None:
    answer = await client.post(URL, data={"prompt": "a gear"}, files={"x": ("", b"")})
    assert field_of(answer) in ("image", "x")
    body = b'--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\na gear\r\n--b--\r\n'
    answer = await client.post(URL, content=body, headers={"Content-Type": "multipart/form-data; boundary=b"})
    assert field_of(answer) == "image"


@pytest.mark.parametrize(("field", "words"), [("photo", "is not a known field"), ("prompt", "must be a text")])
async def test_a_file_in_the_wrong_place_is_named(client: httpx.AsyncClient, field: str, words: str) -> None:
    problem = problem_of(await client.post(URL, files={field: ("p.png", picture(), "image/png")}), 422)
    assert problem["errors"] == [{"field": field, "detail": words}]


async def test_an_image_that_is_none_is_415(client: httpx.AsyncClient) -> None:
    assert field_of(await client.post(URL, **form(b"GIF89a" + bytes(20))), 415) == "image"


async def test_a_field_twice_is_malformed(client: httpx.AsyncClient) -> None:
    answer = await client.post(URL, data={"seed": ["1", "2"]}, files={"image": ("p", picture())})
    problem_of(answer, 400)


async def test_json_is_not_this_contract(client: httpx.AsyncClient) -> None:
    problem_of(await client.post(URL, json={"prompt": "a gear"}), 415)


async def test_a_model_without_canny_says_so(
    bare_client: httpx.AsyncClient, bare_store: JobStore, manifest: Manifest, model: ServedModel
) -> None:
    data = manifest.model_dump(mode="json")
    del data["controls"]["canny"], data["files"]["controls/canny.safetensors"]
    bare_store.set_serving(ServedModel(model.name, "4", "sha256:cc", data, model.source))
    problem = problem_of(await bare_client.post(URL, **form()), 422)
    assert "has sketch" in problem["detail"]


async def test_a_failed_job_speaks_the_forms_names(client: httpx.AsyncClient, worker: Worker) -> None:
    worker.fail_with({"type": "invalid-request", "detail": "The picture is cut short.", "field": "controls.0.image"})
    assert field_of(await client.post(URL, **form())) == "image"


async def test_healthy_once_something_is_served(client: httpx.AsyncClient) -> None:
    answer = await client.get("/model/health")
    assert answer.json() == {"status": "ok", "model": "controlnet-demo", "version": "3"}


async def test_not_healthy_before(bare_client: httpx.AsyncClient) -> None:
    problem_of(await bare_client.get("/model/health"), 503)
