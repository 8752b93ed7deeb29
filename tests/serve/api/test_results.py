"""What a job made, one by one and together: when it is there, and what is said when it isn't."""

from __future__ import annotations

import io
import json
import zipfile

import httpx
import pytest

from serve.jobs.artifacts import ArtifactStore
from serve.jobs.spec import ControlSpec, JobSpec
from serve.jobs.store import Job, JobStore, Lease, ServedModel, StoredImage, StoredMap
from tests.serve.api.conftest import TENANT, Worker, canny, picture, problem_of

CONTROL = ControlSpec("canny", "canny", ("demo/ab/in.png",), {"low_threshold": 60.0})
SPEC = JobSpec("a gear", "", (8, 9), steps=5, guidance=1.0, width=64, height=64, controls=(CONTROL,))
REQUEST = {"prompt": "a gear", "n": 2, "seed": 8, "controls": [canny()]}
PATHS = ["/images/0", "/images/1", "/controls/0", "/archive"]


@pytest.fixture
async def done(client: httpx.AsyncClient, worker: Worker) -> str:
    """Where a job is that succeeded."""
    job: str = (await client.post("/v1/images", json=REQUEST)).json()["job"]
    return f"/v1/jobs/{job}"


@pytest.fixture
def job(store: JobStore, model: ServedModel) -> Job:
    return store.submit(TENANT, SPEC, model)


def start(store: JobStore) -> Lease:
    (lease,) = store.claim("worker", 30, 1)
    return lease


async def make_one(store: JobStore, artifacts: ArtifactStore, lease: Lease) -> bytes:
    """The second image of two."""
    png = picture(64, 64)
    store.image_done(lease, 1, StoredImage(await artifacts.put(TENANT, png, ".png"), 9, 64, 64))
    return png


async def test_an_image_is_a_png_with_its_seed(client: httpx.AsyncClient, done: str) -> None:
    answer = await client.get(f"{done}/images/1")
    assert answer.headers["content-type"] == "image/png"
    assert (answer.headers["x-seed"], answer.headers["x-job-id"]) == ("9", done.split("/")[-1])
    assert answer.content.startswith(b"\x89PNG")


async def test_a_control_map_is_a_png_with_its_id(client: httpx.AsyncClient, done: str) -> None:
    answer = await client.get(f"{done}/controls/0")
    (link,) = (await client.get(done)).json()["control_maps"]
    assert answer.content.startswith(b"\x89PNG")
    assert answer.headers["x-map-id"] == link["id"]


async def test_links_lead_there(client: httpx.AsyncClient, done: str) -> None:
    job = (await client.get(done)).json()
    for url in [link["url"] for link in job["images"] + job["control_maps"]] + list(job["links"].values()):
        assert (await client.get(url)).status_code == 200


async def test_an_archive_holds_everything(client: httpx.AsyncClient, done: str) -> None:
    answer = await client.get(f"{done}/archive")
    assert answer.headers["content-type"] == "application/zip"
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.namelist() == ["image_0.png", "image_1.png", "control/canny.png", "manifest.json"]
    manifest = json.loads(archive.read("manifest.json"))
    assert manifest["parameters"]["seeds"] == [8, 9]
    assert [image["seed"] for image in manifest["images"]] == [8, 9]


async def test_an_image_is_there_before_the_others(
    client: httpx.AsyncClient, store: JobStore, artifacts: ArtifactStore, job: Job
) -> None:
    png = await make_one(store, artifacts, start(store))
    assert (await client.get(f"/v1/jobs/{job.id}/images/1")).content == png
    problem_of(await client.get(f"/v1/jobs/{job.id}/images/0"), 409)


async def test_a_map_is_there_before_the_images(
    client: httpx.AsyncClient, store: JobStore, artifacts: ArtifactStore, job: Job
) -> None:
    lease = start(store)
    store.annotated(lease, [StoredMap(await artifacts.put(TENANT, picture(), ".png"), "canny", 0)])
    assert (await client.get(f"/v1/jobs/{job.id}/controls/0")).content == picture()


async def test_what_is_done_of_a_cancelled_job_is_kept(
    client: httpx.AsyncClient, store: JobStore, artifacts: ArtifactStore, job: Job
) -> None:
    lease = start(store)
    png = await make_one(store, artifacts, lease)
    store.cancelled(lease)
    assert store.retention.condemn([key async for keys in artifacts.list() for key in [k.key for k in keys]]) == 0
    assert (await client.get(f"/v1/jobs/{job.id}/images/1")).content == png
    problem_of(await client.get(f"/v1/jobs/{job.id}/images/0"), 404)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("running", [False, True])
async def test_what_is_not_made_yet_is_409(
    client: httpx.AsyncClient, store: JobStore, job: Job, path: str, running: bool
) -> None:
    if running:
        start(store)
    answer = await client.get(f"/v1/jobs/{job.id}{path}")
    assert problem_of(answer, 409)["type"] == "/problems/not-finished"
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize("path", PATHS)
async def test_what_has_expired_is_410(client: httpx.AsyncClient, store: JobStore, done: str, path: str) -> None:
    JobStore(store._reads, clock=lambda: 4e9).retention.expire()
    assert problem_of(await client.get(f"{done}{path}"), 410)["type"] == "/problems/expired"


@pytest.mark.parametrize("path", PATHS)
async def test_what_expires_while_it_is_asked_for_is_410(
    client: httpx.AsyncClient, store: JobStore, done: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at the row and the one at the bytes a sweeper takes them."""
    reading = ArtifactStore.get

    async def late(self: ArtifactStore, key: str, tenant: str) -> bytes:
        JobStore(store._reads, clock=lambda: 4e9).retention.expire()
        await self.delete(lambda: [key])
        return await reading(self, key, tenant)

    monkeypatch.setattr(ArtifactStore, "get", late)
    assert problem_of(await client.get(f"{done}{path}"), 410)["type"] == "/problems/expired"


@pytest.mark.parametrize("path", PATHS)
async def test_what_is_kept_and_not_there_is_404(
    client: httpx.AsyncClient, artifacts: ArtifactStore, done: str, path: str
) -> None:
    keys = [one.key async for found in artifacts.list() for one in found]
    await artifacts.delete(lambda: keys)
    problem_of(await client.get(f"{done}{path}"), 404)


async def test_a_job_whose_result_expired_is_still_known(client: httpx.AsyncClient, store: JobStore, done: str) -> None:
    JobStore(store._reads, clock=lambda: 4e9).retention.expire()
    job = (await client.get(done)).json()
    assert (job["state"], job["images"], job["control_maps"]) == ("succeeded", [], [])


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/images/2", "The job has no image 2: it makes 2, counted from 0."),
        ("/controls/1", "The job has no control map 1: it makes 1, counted from 0."),
        (f"/images/{10**30}", f"The job has no image {10**30}: it makes 2, counted from 0."),
    ],
)
async def test_what_a_job_never_makes_is_404(client: httpx.AsyncClient, done: str, path: str, words: str) -> None:
    assert problem_of(await client.get(f"{done}{path}"), 404)["detail"] == words


@pytest.mark.parametrize("path", PATHS)
async def test_what_a_failed_job_did_not_make_is_404(
    client: httpx.AsyncClient, store: JobStore, job: Job, path: str
) -> None:
    store.fail(start(store), {"type": "job-failed", "detail": "No."})
    assert "failed" in problem_of(await client.get(f"/v1/jobs/{job.id}{path}"), 404)["detail"]


@pytest.mark.parametrize("k", ["-1", "x", "1.5"])
async def test_what_is_no_number_is_named(client: httpx.AsyncClient, done: str, k: str) -> None:
    problem_of(await client.get(f"{done}/images/{k}"), 422)
