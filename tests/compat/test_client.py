"""The Python client of 0.1, as it was at 7cb3f87, against today's api on a socket, with a fake worker.

`client_0_1` is `serve/client` of then, with `serve/errors.py` and `serve/loopback.py`; only its imports were rewritten,
by `s/from serve.client/from tests.compat.client_0_1/` and likewise for the two.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from obstore.store import MemoryStore
from PIL import Image
from prometheus_client import CollectorRegistry

import controlnet
from controlnet.bundle import Manifest
from serve.api.app import create_app
from serve.config import Settings
from serve.errors import UnsupportedMedia as Refused
from serve.jobs.artifacts import ArtifactStore
from serve.jobs.database import open_database
from serve.jobs.signals import SqliteSignals
from serve.jobs.store import READY, JobStore, Lease, ServedModel
from serve.telemetry import ApiMetrics
from serve.tenancy.tenancy import Tenancy
from serve.tenancy.tenants import Limits, Tenant
from tests.compat.client_0_1 import (
    AsyncClient,
    Client,
    Control,
    Ended,
    ImageDone,
    Job,
    Map,
    ModelVersion,
    Progressed,
    Queued,
    Retries,
    Started,
    calls,
)
from tests.compat.client_0_1 import errors as told
from tests.serve.api.conftest import Worker, new_key, picture
from tests.serve.api.live import Live

DIGEST = "sha256:" + "ab" * 32
EVENTS = (Queued, Started, Progressed, ImageDone, Ended)


class Work(Worker):
    """Ends each job as its prompt says."""

    async def succeed(self, lease: Lease) -> None:
        prompt = lease.job.spec.prompt
        if "refused" in prompt:
            self._store.fail(lease, Refused("no picture", field="controls.0.image").problem())
        elif "again" in prompt and lease.attempt == 1:
            self._store.retry(lease, told.JobFailed("lost").problem())
        elif "long" in prompt:
            while lease.job.id not in self._store.cancel_requests("worker"):
                await asyncio.sleep(0.01)
            self._store.cancelled(lease)
        else:
            self._store.progress([(lease, {"steps": [3] * lease.job.spec.n, "of": lease.job.spec.steps})])
            await super().succeed(lease)


class Service:
    """The api, its store, and keys of 0.1's roles."""

    def __init__(self, folder: Path) -> None:
        manifest = Manifest.model_validate_json((Path(controlnet.__file__).parent / "demo/bundle.json").read_text())
        self._database = open_database(f"sqlite:///{folder / 'jobs.db'}")
        self.store = JobStore(self._database)
        self.store.set_serving(
            ServedModel("controlnet-demo", "3", DIGEST, manifest.model_dump(mode="json"), "models:/controlnet-demo/3")
        )
        assert self.store.take_lock(READY, "dispatcher", 3600)
        settings = Settings(data_dir=folder, _env_file=None)
        tenancy = Tenancy.over(self._database, settings)
        tenancy.tenants.apply([Tenant("small", limits=Limits(images_per_day=2, retention_days=1e-9))], "test")
        self.keys = {role: new_key(tenancy, role=role) for role in ("viewer", "member")}  # type: ignore[arg-type]
        self.keys["small"] = new_key(tenancy, "small")
        self.keys["unknown"] = f"cn_{'a' * 10}_{'a' * 52}"
        artifacts = ArtifactStore(MemoryStore())
        metrics = ApiMetrics(CollectorRegistry())
        app = create_app(settings, self.store, tenancy, artifacts, SqliteSignals(self._database), metrics)
        self.live = Live(app, beside=Work(self.store, artifacts, SqliteSignals(self._database)).run)

    def close(self) -> None:
        self._database.dispose()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("compat"))
    with service.live:
        yield service
    service.close()


class Caller:
    """One of the two clients."""

    def __init__(self, kind: str, service: Service) -> None:
        self.service = service
        self._kind = kind

    def __call__(self, method: str, *arguments: Any, key: str = "member", **named: Any) -> Any:
        """What a method returns; all of it where it iterates."""
        how: dict[str, Any] = {"key": self.service.keys[key], "retries": Retries(attempts=1)}
        if self._kind == "async":
            return asyncio.run(self._call(how, method, *arguments, **named))
        # Certificates, which nobody needs here, take longer to read than the call does.
        with Client(self.service.live.url, transport=httpx.HTTPTransport(verify=False), **how) as client:
            found = getattr(client, method)(*arguments, **named)
            return list(found) if method in ("jobs", "events") else found

    async def _call(self, how: dict[str, Any], method: str, *arguments: Any, **named: Any) -> Any:
        transport = httpx.AsyncHTTPTransport(verify=False)
        async with AsyncClient(self.service.live.url, transport=transport, **how) as client:
            found = getattr(client, method)(*arguments, **named)
            if method not in ("jobs", "events"):
                return await found
            async with contextlib.aclosing(found) as items:
                return [item async for item in items]


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest, service: Service) -> Caller:
    return Caller(request.param, service)


def size(png: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(png)).size


def test_a_job_is_submitted_waited_for_and_fetched(call: Caller, tmp_path: Path) -> None:
    control = Control("canny", image=picture(), parameters={"low_threshold": 10.0}, strength=0.5, end=0.9, mode="guess")
    job = call("submit", "a gear", controls=[control], n=2, seed=7, steps=12, priority="batch", deadline_s=600.0)
    assert isinstance(job, Job)
    assert (job.kind, job.n, job.priority, job.model) == ("images", 2, "batch", ModelVersion(
        name="controlnet-demo", version="3", digest=DIGEST
    ))  # fmt: skip
    done = call("wait", job.id)
    assert (done.id, done.state, done.terminal, done.failure, done.attempt) == (job.id, "succeeded", True, None, 1)
    assert [image.seed for image in done.images] == [7, 8]
    assert done.parameters["controls"][0]["parameters"]["low_threshold"] == 10.0
    assert done.timings == {"sampling": 0.25}
    assert done.created_at <= done.started_at <= done.finished_at < done.expires_at
    expected = (done.images[0].width, done.images[0].height)
    assert [size(png) for png in call("images", done.id)] == [expected] * 2
    files = call("download", job.id, tmp_path)
    names = ["image_0.png", "image_1.png", "control/canny.png", "manifest.json"]
    assert [str(file.relative_to(tmp_path)) for file in files] == names


def test_images_are_made_in_one_call(call: Caller) -> None:
    assert [size(png) for png in call("generate", "a gear", width=128, height=96, n=2)] == [(128, 96)] * 2


def test_events_tell_of_all_that_happens(call: Caller) -> None:
    events = call("events", call("submit", "a gear again", seed=3).id)
    assert {type(event) for event in events} <= set(EVENTS)
    durable = [event for event in events if not isinstance(event, Progressed)]
    assert [event.attempt for event in durable if isinstance(event, Started)] == [1, 2]
    assert isinstance(durable[0], Queued)
    assert isinstance(durable[-1], Ended)
    assert durable[-1].job.attempt == 2


def test_a_map_is_made_once_and_used_again(call: Caller) -> None:
    made = call("annotate", "canny", picture(), parameters={"low_threshold": 20.0}, size=(96, 64))
    assert isinstance(made, Map)
    assert (made.type, made.width, made.height) == ("canny", 96, 64)
    assert Image.open(io.BytesIO(made.png)).format == "PNG"
    assert call("job", made.job).kind == "map"
    job = call("wait", call("submit", "a gear", controls=[Control("canny", map=made)], resolution=64).id)
    assert job.state == "succeeded"
    assert [control_map.type for control_map in job.control_maps] == ["canny"]
    again = Control("canny", map=[made.id])
    assert call("wait", call("submit", "a gear", controls=[again], resolution=64).id).state == "succeeded"


def test_a_request_that_is_sent_again_is_the_same_job(call: Caller, request: pytest.FixtureRequest) -> None:
    name = request.node.name
    first = call("submit", "a gear", idempotency_key=name)
    assert call("submit", "a gear", idempotency_key=name).id == first.id
    with pytest.raises(told.IdempotencyMismatch) as caught:
        call("submit", "another gear", idempotency_key=name)
    assert caught.value.field == "Idempotency-Key"


def test_a_job_is_cancelled(call: Caller) -> None:
    job = call("submit", "a long job")
    with pytest.raises(told.Conflict):  # nothing to fetch yet
        call("download", job.id, Path("nowhere"))
    call("cancel", job.id)
    done = call("wait", job.id)
    assert (done.state, type(done.failure)) == ("cancelled", told.JobCancelled)
    assert call("cancel", job.id).state == "cancelled"


def test_a_job_that_failed_says_why(call: Caller) -> None:
    with pytest.raises(told.UnsupportedMedia, match="no picture") as caught:
        call("generate", "a refused job")
    assert caught.value.job
    assert caught.value.field == "controls.0.image"


def test_jobs_are_listed_page_by_page(call: Caller) -> None:
    mine = [call("submit", f"part {i}").id for i in range(3)]
    for job_id in mine:
        call("wait", job_id)
    assert [job.id for job in call("jobs", limit=3)] == mine[::-1]
    assert {job.state for job in call("jobs", ("succeeded", "failed"), limit=5)} <= {"succeeded", "failed"}


def test_pages_follow_each_other(service: Service) -> None:
    """The client asks for pages of 200: a page of one is what is behind that."""
    call = Caller("sync", service)
    mine = [call("submit", f"part {i}").id for i in range(2)]
    with Client(service.live.url, service.keys["member"]) as client:
        first = client._send(calls.jobs((), 1, None))
        second = client._send(calls.jobs((), 1, first.next))
    assert [job.id for page in (first, second) for job in page.jobs] == mine[::-1]


@pytest.mark.parametrize(
    ("named", "field"),
    [
        ({"steps": 1000}, "steps"),
        ({"width": 65, "height": 64}, "width"),
        ({"controls": [Control("canny", image=picture(), strength=3.0)]}, "controls.0.strength"),
        ({"controls": [Control("nothing", image=picture())]}, "controls.0.type"),
        ({"webhook": "http://127.0.0.1/"}, "webhook.url"),
    ],
)
def test_what_is_wrong_with_a_request_is_told_by_its_field(call: Caller, named: Any, field: str) -> None:
    with pytest.raises(told.InvalidRequest) as caught:
        call("submit", "a gear", **named)
    assert caught.value.field == field
    assert caught.value.request_id


def test_a_job_that_is_not_there_is_not_found(call: Caller) -> None:
    for method in ("job", "events", "cancel", "images"):
        with pytest.raises(told.NotFound):
            call(method, "job_0")


def test_who_is_not_known_is_told_so(call: Caller) -> None:
    with pytest.raises(told.ServeError) as caught:
        call("jobs", key="unknown")
    assert (type(caught.value), caught.value.status) == (told.Unauthenticated, 401)


def test_who_may_not_is_told_so(call: Caller) -> None:
    with pytest.raises(told.Forbidden):
        call("submit", "a gear", key="viewer")
    assert call("jobs", limit=1, key="viewer")


def test_a_team_that_used_up_its_day_and_its_results_are_told_of(service: Service) -> None:
    """Once, for both clients: what was used is used."""
    ours, theirs = Caller("sync", service), Caller("async", service)
    job = ours("wait", ours("submit", "a gear", n=2, key="small").id, key="small")
    for call in (ours, theirs):
        with pytest.raises(told.QuotaExceeded) as caught:
            call("submit", "a gear", key="small")
        assert 0 < caught.value.retry_after_s <= 24 * 3600
        with pytest.raises(told.InvalidRequest, match="2 a day"):
            call("submit", "a gear", n=3, key="small")
    service.store.retention.expire()
    for call in (ours, theirs):
        with pytest.raises(told.Gone):
            call("images", job.id, key="small")
