"""`serve.client` against the application, without sockets: both ends of the same contract."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from serve.api.schemas import ImagesAnswer
from serve.client import AsyncClient, Control, calls
from serve.client.calls import Call
from serve.errors import InvalidRequest, ModelNotReady, NotFound
from serve.jobs.store import JobStore
from tests.serve.api.conftest import Worker, member_key, picture


@pytest.fixture
async def api(app: FastAPI) -> AsyncIterator[AsyncClient]:
    async def sleep(seconds: float) -> None:
        """Time flies."""

    transport = httpx.ASGITransport(app)
    async with AsyncClient("http://localhost", member_key(app), transport=transport, sleep=sleep) as client:
        yield client


def awaited(*controls: Control, **parameters: int) -> Call[ImagesAnswer]:
    """The client's body of a job, for the route that answers with the images."""
    call = calls.submit("a gear", controls, parameters, None, "key-1")  # type: ignore[arg-type]
    return dataclasses.replace(  # type: ignore[return-value]
        call, path="/v1/images", read=lambda answer: ImagesAnswer.model_validate_json(answer.content)
    )


async def test_a_job_that_is_not_there_is_not_found(api: AsyncClient, store: JobStore) -> None:
    with pytest.raises(NotFound, match="no such job") as caught:
        await api.job("job_0")
    assert caught.value.request_id


@pytest.mark.parametrize("job_id", ["../models", "..", "a/b", "job_0?x"])
async def test_no_id_leads_to_another_route(api: AsyncClient, store: JobStore, job_id: str) -> None:
    with pytest.raises(NotFound):
        await api.job(job_id)


async def test_what_the_client_sends_is_understood(api: AsyncClient, worker: Worker) -> None:
    control = Control(
        "canny",
        image=[picture(96, 64), picture(64, 64), picture(96, 64)],
        parameters={"low_threshold": 10.0},
        strength=0.5,
        start=0.1,
        end=0.9,
        mode="guess",
    )
    answer = await api._send(awaited(control, seed=5, steps=7))
    assert [image.seed for image in answer.images] == [5, 6, 7]
    (used,) = worker.spec.controls
    assert (used.strength, used.start, used.end, used.mode) == (0.5, 0.1, 0.9, "guess")
    assert used.parameters["low_threshold"] == 10.0
    assert used.images[0] == used.images[2] != used.images[1]


async def test_a_ready_map_is_understood(api: AsyncClient, worker: Worker) -> None:
    await api._send(awaited(Control("canny", map=picture())))
    assert worker.spec.controls[0].annotator == "none"


async def test_what_is_wrong_is_told_by_its_field(api: AsyncClient, store: JobStore) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await api._send(awaited(Control("canny", image=picture(), strength=3.0)))
    assert caught.value.field == "controls.0.strength"


async def test_a_platform_without_a_model_is_asked_again_and_then_said_to_have_none(
    api: AsyncClient, bare_store: JobStore
) -> None:
    with pytest.raises(ModelNotReady) as caught:
        await api._send(awaited())
    assert caught.value.retry_after_s == 5
