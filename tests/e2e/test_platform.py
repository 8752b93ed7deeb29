"""A user's afternoon: a photograph and a prompt over real HTTP, through Ray Serve, MLflow and the shipped model."""

from __future__ import annotations

import base64
import io
import json
import os
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pytest
import skimage
from PIL import Image

from controlnet.bundle import DEMO, Bundle
from controlnet.generate import generate
from controlnet.pipeline import Control as PipelineControl
from controlnet.pipeline import ImageSpec, Pipeline
from ops.faults.changes import sibling
from serve.client import Client, Control, Ended, Parameters, Progressed
from tests.readme import agreement

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

PROMPT = "brass discs on a blue bench"


@pytest.fixture(scope="module")
def photograph() -> bytes:
    """Roman coins on a table: not a rendering, not square, 16 times the size the model makes."""
    buffer = io.BytesIO()
    Image.fromarray(skimage.data.coins()).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def pixels(data: bytes) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def post(
    client: httpx.Client, request: dict[str, Any], photograph: bytes | None = None, **headers: str
) -> httpx.Response:
    if photograph is None:
        return client.post("/v1/images", json=request, headers=headers)
    files = {"photo": ("coins.jpg", photograph, "image/jpeg")}
    return client.post("/v1/images", data={"request": json.dumps(request)}, files=files, headers=headers)


def test_a_photograph_and_a_prompt_become_a_picture_that_follows_both(platform: Any, photograph: bytes) -> None:
    controls = [{"type": "canny", "image": "photo"}]
    # 24 coins: at the native 128 each would be a few pixels wide.
    request = {"prompt": PROMPT, "seed": 1, "resolution": 256, "controls": controls}
    answer = post(platform.client, request, photograph)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    picture = pixels(base64.b64decode(body["images"][0]["b64"]))
    control_map = pixels(base64.b64decode(body["control_maps"][0]["b64"]))
    free = post(platform.client, {"prompt": PROMPT, "seed": 1, "width": picture.shape[1], "height": picture.shape[0]})
    without = pixels(base64.b64decode(free.json()["images"][0]["b64"]))

    assert picture.shape == control_map.shape == without.shape
    assert agreement(picture, control_map) > agreement(without, control_map) + 0.15
    # Blue bench: the corners, where no coin lies, are more blue than red.
    corner = picture[:4].reshape(-1, 3).mean(axis=0)
    assert corner[2] > corner[0]


def test_the_answer_says_how_the_picture_was_made(platform: Any, photograph: bytes) -> None:
    request = {"prompt": PROMPT, "steps": 4, "controls": [{"type": "canny", "image": "photo", "strength": 0.8}]}
    body = post(platform.client, request, photograph).json()
    (image,) = body["images"]
    inside = json.loads(Image.open(io.BytesIO(base64.b64decode(image["b64"]))).text["controlnet"])
    served = platform.client.get("/v1/models").json()

    assert body["parameters"]["steps"] == inside["steps"] == 4
    assert body["parameters"]["controls"][0]["strength"] == 0.8
    assert image["seed"] == body["parameters"]["seed"] == inside["seed"]
    assert body["model"]["digest"] == inside["model_digest"] == Bundle.open(DEMO).digest
    assert Bundle.open(DEMO).digest in json.dumps(served)
    assert body["timings"]["sampling"] > 0


def test_seed_and_parameters_of_an_answer_make_the_picture_again_alone(platform: Any, photograph: bytes) -> None:
    """What came out of the busy service is what the library makes by itself from the same numbers."""
    request = {"prompt": PROMPT, "steps": 4, "deterministic": True, "controls": [{"type": "canny", "image": "photo"}]}
    body = post(platform.client, request, photograph).json()
    control_map = pixels(base64.b64decode(body["control_maps"][0]["b64"]))
    alone = solo(Pipeline.load(DEMO), body["parameters"], control_map)
    # Bytes are promised for one process on one machine; the thread counts differ here, so a level of rounding may too.
    served = pixels(base64.b64decode(body["images"][0]["b64"])).astype(int)
    assert np.abs(served - alone.astype(int)).max() <= 1


def test_deterministic_bytes_do_not_depend_on_what_else_runs(platform: Any, photograph: bytes) -> None:
    request = {"prompt": PROMPT, "steps": 6, "seed": 5, "deterministic": True}
    request["controls"] = [{"type": "canny", "image": "photo"}]
    quiet = post(platform.client, request, photograph, Accept="image/png").content
    other = {"prompt": "a steel gear", "steps": 12, "n": 2}
    with ThreadPoolExecutor(4) as pool:
        noise = [pool.submit(post, platform.client, other) for _ in range(3)]
        busy = pool.submit(post, platform.client, request, photograph, Accept="image/png").result().content
    assert busy == quiet
    assert all(future.result().status_code == 200 for future in noise)


def test_the_first_demos_contract(platform: Any, photograph: bytes) -> None:
    assert platform.client.get("/model/health").status_code == 200
    form = {"prompt": PROMPT, "num_samples": "2", "ddim_steps": "4", "seed": "9", "low_threshold": "60"}
    answer = platform.client.post("/model/generate", data=form, files={"image": ("coins.jpg", photograph)})
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        names = archive.namelist()
        made = [pixels(archive.read(name)) for name in names if name.startswith("image_")]
    assert len(made) == 2
    assert not np.array_equal(*made)
    assert "control/canny.png" in names


def test_a_truncated_picture_is_the_callers_error_and_named(platform: Any, photograph: bytes) -> None:
    controls = [{"type": "canny", "image": "photo"}]
    answer = post(platform.client, {"prompt": PROMPT, "controls": controls}, photograph[: len(photograph) // 2])
    assert answer.status_code in (415, 422)
    assert answer.headers["content-type"] == "application/problem+json"
    assert "controls.0.image" in answer.text


def test_a_caller_who_leaves_frees_the_sampler(platform: Any) -> None:
    request = {"prompt": "nobody waits for it", "steps": 100, "n": 4}
    with pytest.raises(httpx.ReadTimeout):
        platform.client.post("/v1/images", json=request, timeout=httpx.Timeout(60, read=1))
    states: list[str] = []
    deadline = time.monotonic() + 240
    with Client(platform.rig.url, platform.rig.key) as client:
        while states != ["cancelled"]:
            assert time.monotonic() < deadline, states
            time.sleep(0.1)
            newest = client.jobs(limit=10)
            states = [job.state for job in newest if job.parameters.get("prompt") == request["prompt"]]
    assert post(platform.client, {"prompt": PROMPT, "steps": 1}).status_code == 200


def test_metrics_are_served_on_a_port_of_their_own(platform: Any) -> None:
    assert "cn_http_requests_total" in httpx.get(platform.metrics).text
    assert platform.client.get("/metrics").status_code == 404


def test_a_team_is_added_in_two_commands(platform: Any, tmp_path: Path) -> None:
    """And removed in one, at once."""
    file = tmp_path / "tenants.yaml"
    file.write_text("tenants: [{name: demo}, {name: studio, weight: 2, limits: {max_steps: 50}}]")
    assert "studio: added" in platform.cnserve("tenants", "apply", "-f", str(file))
    key = platform.cnserve("keys", "create", "studio").strip()
    with Client(platform.rig.url, key) as client:
        assert list(client.jobs()) == []
    file.write_text("tenants: [{name: demo}]")
    assert "studio: removed" in platform.cnserve("tenants", "apply", "-f", str(file), "--prune")
    answer = httpx.get(f"{platform.rig.url}/v1/jobs", headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 401


def test_the_terminal_needs_no_key_on_the_platforms_machine(platform: Any) -> None:
    job_id = platform.cnserve("jobs", "submit", PROMPT, "--steps", "1").strip()
    assert json.loads(platform.cnserve("jobs", "show", job_id))["id"] == job_id


def test_the_key_of_a_first_request_is_said_and_private(platform: Any) -> None:
    file = Path(platform.environment["CN_DATA_DIR"]) / "demo.key"
    assert oct(os.stat(file).st_mode & 0o777) == "0o600"
    said = platform.rig.log.read_text()
    assert platform.rig.key in said
    assert platform.rig.key not in (file.parent / "logs" / "api.log").read_text()


def test_rays_token_is_private(platform: Any) -> None:
    token = Path(platform.environment["CN_DATA_DIR"]) / "ray-token"
    assert oct(os.stat(token).st_mode & 0o777) == "0o600"


def test_promotion_under_load_changes_the_version_and_nothing_else(platform: Any, tmp_path: Path) -> None:
    """Requests run all the while; none fails, and each answer is what its own version makes."""
    other = sibling(tmp_path / "sibling")
    version = platform.cnserve("models", "push", str(other.folder)).split()[1]
    request = {"prompt": "a brass gear on a blue bench", "steps": 3, "deterministic": True}
    answers: list[httpx.Response] = []
    enough = threading.Event()

    def ask(worker: int) -> None:
        for i in range(200):
            answers.append(post(platform.client, request | {"seed": 1000 * worker + i}))
            if enough.is_set():
                return

    with ThreadPoolExecutor(3) as pool:
        workers = [pool.submit(ask, worker) for worker in range(3)]
        try:
            platform.cnserve("models", "promote", version)
            wait_until_served(platform, other.digest)
            platform.cnserve("models", "promote", "1")
            wait_until_served(platform, Bundle.open(DEMO).digest)
        finally:
            enough.set()
        for worker in workers:
            worker.result()

    assert {answer.status_code for answer in answers} == {200}
    bodies = [answer.json() for answer in answers]
    by_digest = {Bundle.open(DEMO).digest: Pipeline.load(DEMO), other.digest: Pipeline.load(other)}
    assert {body["model"]["digest"] for body in bodies} == set(by_digest)
    # A few of each version: a reference image costs as much as the answer did.
    for digest, pipeline in by_digest.items():
        for body in [b for b in bodies if b["model"]["digest"] == digest][:3]:
            served = pixels(base64.b64decode(body["images"][0]["b64"])).astype(int)
            assert np.abs(served - solo(pipeline, body["parameters"]).astype(int)).max() <= 1


def test_a_job_is_followed_to_its_end_and_fetched(platform: Any, photograph: bytes) -> None:
    with Client(platform.rig.url, platform.rig.key) as client:
        job = client.submit(PROMPT, controls=[Control("canny", photograph)], n=2, steps=30, seed=3)
        events = list(client.events(job.id))
        again = list(client.events(job.id))
        kinds = [type(event).__name__ for event in events]
        ended = events[-1]
        pictures = client.images(job)
        control_map = platform.client.get(ended.job.control_maps[0].url).content
        archive = zipfile.ZipFile(io.BytesIO(platform.client.get(f"/v1/jobs/{job.id}/archive").content))

    assert isinstance(ended, Ended)
    assert (ended.job.state, kinds[0], kinds.count("ImageDone")) == ("succeeded", "Queued", 2)
    assert kinds.index("Started") < kinds.index("Annotated") < kinds.index("Progressed") < kinds.index("ImageDone")
    previews = [event.picture for event in events if isinstance(event, Progressed) and event.picture]
    assert max(pixels(previews[0]).shape) == 64
    assert [kind for kind in kinds if kind != "Progressed"][-6:] == [type(event).__name__ for event in again]
    assert archive.namelist() == ["image_0.png", "image_1.png", "control/canny.png", "manifest.json"]
    assert [archive.read(f"image_{i}.png") for i in range(2)] == pictures
    assert archive.read("control/canny.png") == control_map
    assert [image["seed"] for image in json.loads(archive.read("manifest.json"))["images"]] == [3, 4]


def test_a_map_is_made_once_and_steers_many(platform: Any, photograph: bytes) -> None:
    with Client(platform.rig.url, platform.rig.key) as client:
        made = client.annotate("canny", photograph, parameters={"low_threshold": 50}, resolution=128)
        direct = Control("canny", photograph, parameters={"low_threshold": 50})
        how: Parameters = {"steps": 2, "seed": 1, "resolution": 128, "deterministic": True}
        jobs = [client.submit(PROMPT, controls=[control], **how) for control in (Control("canny", map=made), direct)]
        reused, annotated = [client.wait(job.id) for job in jobs]
        pictures = [client.images(job) for job in jobs]

    assert set(np.unique(pixels(made.png))) == {0, 255}
    assert reused.control_maps[0].id == annotated.control_maps[0].id == made.id
    assert np.array_equal(pixels(pictures[0][0]), pixels(pictures[1][0]))


def test_the_same_request_sent_at_once_by_many_is_one_job(platform: Any) -> None:
    request, key = {"prompt": PROMPT, "steps": 2}, {"Idempotency-Key": "one-of-many"}
    with ThreadPoolExecutor(6) as pool:
        sent = [pool.submit(platform.client.post, "/v1/jobs", json=request, headers=key) for _ in range(6)]
        answers = [future.result() for future in sent]
    assert {answer.status_code for answer in answers} <= {202, 200, 409}
    ids = {answer.json()["id"] for answer in answers if answer.status_code != 409}
    assert len(ids) == 1
    last = platform.client.post("/v1/jobs", json=request, headers=key)
    assert ({last.json()["id"]}, last.headers["idempotent-replayed"]) == (ids, "true")
    other = platform.client.post("/v1/jobs", json=request | {"steps": 3}, headers=key)
    assert other.json()["type"] == "/problems/idempotency-mismatch"


def test_a_cancelled_job_stops_within_steps(platform: Any) -> None:
    with Client(platform.rig.url, platform.rig.key) as client:
        job = client.submit(PROMPT, steps=100, width=384, height=384)
        done = 0
        for event in client.events(job.id):
            if isinstance(event, Progressed):
                if not done:
                    client.cancel(job.id)
                    asked = time.monotonic()
                done = event.steps[0]
            elif isinstance(event, Ended):
                print(f"\ncancelled {time.monotonic() - asked:.2f} s after it was asked, {done} of 100 steps told")
                assert event.job.state == "cancelled"
                assert event.job.images == ()
    assert 0 < done < 100


def solo(
    pipeline: Pipeline, parameters: dict[str, Any], control_map: npt.NDArray[np.uint8] | None = None
) -> npt.NDArray[np.uint8]:
    """The picture of an answer's parameters, made by the plain loop."""
    import torch

    controls: tuple[PipelineControl, ...] = ()
    if control_map is not None:
        hint = torch.from_numpy(control_map.astype(np.float32) / 255).permute(2, 0, 1).contiguous()
        controls = (PipelineControl("canny", hint, strength=parameters["controls"][0]["strength"]),)
    names = ("prompt", "width", "height", "negative_prompt", "steps", "guidance", "seed", "sampler")
    return generate(pipeline, [ImageSpec(**{name: parameters[name] for name in names}, controls=controls)], pinned=2)[0]


def wait_until_served(platform: Any, digest: str) -> None:
    while digest not in platform.client.get("/v1/models").text:
        time.sleep(0.1)


def test_canny_of_the_service_is_canny(platform: Any, photograph: bytes) -> None:
    request = {"prompt": PROMPT, "steps": 1, "controls": [{"type": "canny", "image": "photo"}]}
    body = post(platform.client, request, photograph).json()
    control_map = pixels(base64.b64decode(body["control_maps"][0]["b64"]))
    assert set(np.unique(control_map)) == {0, 255}
