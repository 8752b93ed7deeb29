"""A job's events: their order, where a reader goes on, and that the last one always comes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from serve.api import events
from serve.api.events import follow
from serve.api.streams import KEEP_ALIVE
from serve.errors import InvalidRequest
from serve.jobs.database import StoreUnavailable
from serve.jobs.spec import JobSpec
from serve.jobs.store import Job, JobResult, JobStore, Lease, ServedModel, StoredImage, StoredMap
from tests.serve.api.conftest import TENANT, connected, member_key, problem_of

SPEC = JobSpec("a gear", "", (1, 2), steps=5, guidance=1.0, width=64, height=64)
IMAGES = tuple(StoredImage(f"demo/aa/{i}.png", seed, 64, 64) for i, seed in enumerate(SPEC.seeds))
MAP = StoredMap(f"demo/c0/{'c0' * 32}.png", "canny", 0)

Event = tuple[str | None, str, dict[str, Any]]


async def always() -> bool:
    """The reader's key is good."""
    return True


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(events, "STANDING_EVERY_S", 0.0)


@pytest.fixture
def job(store: JobStore, model: ServedModel) -> Job:
    return store.submit(TENANT, SPEC, model)


def parsed(text: str) -> list[Event]:
    """What an EventSource makes of a stream."""
    found: list[Event] = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "data" in fields:
            found.append((fields.get("id"), fields["event"], json.loads(fields["data"])))
    return found


def kinds(found: list[Event]) -> list[str]:
    return [kind for _, kind, _ in found]


class Reader:
    """Reads one event at a time of a stream that has not ended."""

    def __init__(self, stream: AsyncIterator[bytes]) -> None:
        self._stream = stream

    async def next(self) -> Event:
        while True:
            found = parsed((await anext(self._stream)).decode())
            if found:
                return found[0]

    async def reaches(self, kind: str) -> Event:
        while (found := await self.next())[1] != kind:
            pass
        return found

    async def rest(self) -> list[Event]:
        return parsed("".join([chunk.decode() async for chunk in self._stream]))


@pytest.fixture
def reader(app: FastAPI, job: Job) -> Reader:
    return Reader(follow(app.state.context, job, 0, always))


def run(store: JobStore) -> Lease:
    """Start the job and make all of it, but for its end."""
    (lease,) = store.claim("worker", 30, 1)
    store.annotated(lease, [MAP])
    for index, image in reversed(list(enumerate(IMAGES))):
        store.image_done(lease, index, image)
    return lease


def end(store: JobStore) -> None:
    store.succeed(run(store), JobResult(IMAGES, (MAP,), {"sampling": 1.0}))


async def read(client: httpx.AsyncClient, job: Job, after: str | None = None) -> list[Event]:
    headers = {} if after is None else {"Last-Event-ID": after}
    answer = await client.get(f"/v1/jobs/{job.id}/events", headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    return parsed(answer.text)


async def test_all_that_happened_comes_in_its_order(client: httpx.AsyncClient, store: JobStore, job: Job) -> None:
    end(store)
    found = await read(client, job)
    assert kinds(found) == ["queued", "started", "annotated", "image", "image", "succeeded"]
    ids = [int(event_id or 0) for event_id, _, _ in found]
    assert ids == sorted(ids)
    assert min(ids) > 0


async def test_each_event_says_what_it_is_about(client: httpx.AsyncClient, store: JobStore, job: Job) -> None:
    end(store)
    queued, started, annotated, image, _, succeeded = (data for _, _, data in await read(client, job))
    url = f"/v1/jobs/{job.id}"
    assert queued == {"job": job.id, "position": None, "attempt": 0}
    assert started == {"job": job.id, "attempt": 1}
    link = {"index": 0, "type": "canny", "id": f"map_{'c0' * 32}", "url": f"{url}/controls/0"}
    assert annotated == {"job": job.id, "control_maps": [link]}
    assert image == {"job": job.id, "index": 1, "seed": 2, "url": f"{url}/images/1"}
    assert succeeded == {"job": (await client.get(url)).json()}


async def test_a_reader_goes_on_after_the_event_it_had(client: httpx.AsyncClient, store: JobStore, job: Job) -> None:
    end(store)
    whole = await read(client, job)
    for i, (event_id, _, _) in enumerate(whole[:-1]):
        assert await read(client, job, event_id) == whole[i + 1 :]


async def test_after_the_last_event_there_is_nothing(client: httpx.AsyncClient, store: JobStore, job: Job) -> None:
    end(store)
    last, _, _ = (await read(client, job))[-1]
    answer = await client.get(f"/v1/jobs/{job.id}/events", headers={"Last-Event-ID": str(last)})
    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize("after", ["0", "999999", "-1", "x", "9" * 500])
async def test_an_id_of_no_event_of_the_job_is_answered_with_all_of_it(
    client: httpx.AsyncClient, store: JobStore, job: Job, after: str
) -> None:
    end(store)
    assert kinds(await read(client, job, after))[0] == "queued"


async def test_the_last_event_tells_of_a_failure(client: httpx.AsyncClient, store: JobStore, job: Job) -> None:
    store.fail(run(store), InvalidRequest("Cut short.", field="controls.0.image").problem())
    _, kind, data = (await read(client, job))[-1]
    assert kind == "failed"
    assert data["job"]["error"]["errors"] == [{"field": "controls.0.image", "detail": "Cut short."}]


async def test_the_last_event_tells_of_a_cancellation(client: httpx.AsyncClient, store: JobStore, job: Job) -> None:
    store.request_cancel(job.id, TENANT)
    assert kinds(await read(client, job)) == ["queued", "cancelled"]


async def test_events_outlive_the_result(client: httpx.AsyncClient, store: JobStore, job: Job) -> None:
    end(store)
    late = JobStore(store._reads, clock=lambda: 4e9)
    assert late.retention.expire() == 1
    found = await read(client, job)
    assert kinds(found)[-1] == "succeeded"
    assert found[-1][2]["job"]["images"] == []


async def test_what_happens_is_told_as_it_happens(reader: Reader, store: JobStore) -> None:
    assert (await reader.next())[1] == "queued"
    (lease,) = store.claim("worker", 30, 1)
    assert (await reader.next())[1] == "started"
    store.image_done(lease, 0, IMAGES[0])
    assert (await reader.next())[1] == "image"
    store.cancelled(lease)
    assert kinds(await reader.rest()) == ["cancelled"]


async def test_a_queued_job_is_told_its_place_and_when_it_moves_up(
    app: FastAPI, store: JobStore, job: Job, model: ServedModel
) -> None:
    reader = Reader(follow(app.state.context, store.submit(TENANT, SPEC, model), 0, always))
    first = await reader.next()
    assert (first[0] is None, first[1], first[2]["position"]) == (False, "queued", 1)
    store.claim("worker", 30, 1)
    second = await reader.next()
    assert (second[0], second[1], second[2]["position"]) == (None, "queued", 0)


async def test_progress_is_the_latest_and_has_no_id(reader: Reader, store: JobStore) -> None:
    (lease,) = store.claim("worker", 30, 1)
    store.progress([(lease, {"steps": [3, 2], "of": 5})])
    event_id, _, data = await reader.reaches("progress")
    assert event_id is None
    assert data == {"job": lease.job.id, "steps": [3, 2], "of": 5}


async def test_the_same_progress_is_told_once(reader: Reader, store: JobStore, model: ServedModel) -> None:
    (lease,) = store.claim("worker", 30, 1)
    store.progress([(lease, {"steps": [3, 2], "of": 5})])
    await reader.reaches("progress")
    store.submit(TENANT, SPEC, model)  # wakes everyone
    store.image_done(lease, 0, IMAGES[0])
    assert (await reader.next())[1] == "image"


async def test_progress_that_comes_too_soon_is_told_later_if_it_is_the_latest(
    reader: Reader, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "STANDING_EVERY_S", 0.5)
    (lease,) = store.claim("worker", 30, 1)
    told = []
    store.progress([(lease, {"steps": [1, 0], "of": 5})])
    told.append((await reader.reaches("progress"))[2]["steps"])
    for step in (2, 3):
        store.progress([(lease, {"steps": [step, 0], "of": 5})])
    told.append((await reader.reaches("progress"))[2]["steps"])
    assert told == [[1, 0], [3, 0]]


async def test_an_attempt_is_told_of_before_its_progress(reader: Reader, store: JobStore) -> None:
    (lease,) = store.claim("worker", 30, 1)
    store.progress([(lease, {"steps": [4, 4], "of": 5})])
    await reader.reaches("progress")
    store.retry(lease, {})
    (again,) = store.claim("worker", 30, 1)
    store.progress([(again, {"steps": [1, 1], "of": 5})])
    assert [(await reader.next())[1] for _ in range(3)] == ["queued", "started", "progress"]


async def test_silence_is_broken_by_comments(
    app: FastAPI, job: Job, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "KEEP_ALIVE_S", 0.02)
    stream = follow(app.state.context, job, 0, always)
    chunks = [await anext(stream) for _ in range(4)]
    assert chunks[-2:] == [KEEP_ALIVE, KEEP_ALIVE]


async def test_a_stream_outlives_a_store_that_is_away(
    reader: Reader, store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await reader.next()
    look = events.Look.at
    away = [StoreUnavailable("Away."), StoreUnavailable("Still.")]

    def sometimes(*arguments: Any) -> events.Look:
        if away:
            raise away.pop()
        return look(*arguments)

    monkeypatch.setattr(events, "RECHECK_S", 0.01)
    monkeypatch.setattr(events.Look, "at", sometimes)
    end(store)
    assert kinds(await reader.rest())[-1] == "succeeded"
    assert not away


async def test_no_job_no_stream(client: httpx.AsyncClient) -> None:
    problem_of(await client.get("/v1/jobs/job_0/events"), 404)


async def test_many_read_one_job(client: httpx.AsyncClient, store: JobStore, job: Job) -> None:
    reading = [asyncio.ensure_future(read(client, job)) for _ in range(10)]
    end(store)
    found = await asyncio.gather(*reading)
    durable = [[event_id for event_id, _, _ in one if event_id] for one in found]
    assert all(ids == durable[0] for ids in durable)
    assert {kinds(one)[-1] for one in found} == {"succeeded"}


async def test_one_more_stream_than_a_team_may_have_is_refused(
    make_app: Callable[..., FastAPI], store: JobStore, job: Job
) -> None:
    app = make_app(max_streams=1)
    async with connected(app) as client:
        first = asyncio.ensure_future(client.get(f"/v1/jobs/{job.id}/events"))
        while not app.state.context.streams.count(TENANT):
            await asyncio.sleep(0)
        refused = await client.get(f"/v1/jobs/{job.id}/events")
        assert problem_of(refused, 429)["type"] == "/problems/too-many-requests"
        assert refused.headers["retry-after"] == "5"
        end(store)
        assert (await first).status_code == 200
        assert (await client.get(f"/v1/jobs/{job.id}/events")).status_code == 200


@pytest.mark.parametrize("how", ["revoked", "good", "store away"])
async def test_a_reader_whose_key_was_revoked_is_cut_off(
    app: FastAPI, job: Job, store: JobStore, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(events, "KNOWN_FOR_S", 0.0)
    tenancy, key = app.state.context.tenancy, member_key(app)
    async with connected(app, key) as client:
        reading = asyncio.ensure_future(client.get(f"/v1/jobs/{job.id}/events"))
        while not app.state.context.streams.count(TENANT):
            await asyncio.sleep(0)
        if how == "store away":
            monkeypatch.setattr(tenancy.keys, "holder", away)
        elif how == "revoked":
            tenancy.keys.revoke(TENANT, key[3:13], "test")
            answer = await reading
        end(store)
        answer = await reading
    assert ("event: succeeded" in answer.text) == (how != "revoked")


def away(_: str) -> None:
    raise StoreUnavailable("The store is not reachable.")
