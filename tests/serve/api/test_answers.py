"""Which representation a client gets."""

from __future__ import annotations

import time

import httpx
import pytest
import sqlalchemy as sa
from fastapi import FastAPI

from serve.api.answers import JSON, PNG, ZIP, Finished, choose
from serve.errors import Gone, NotAcceptable
from serve.jobs.store import WEEK_S, JobStore
from tests.serve.api.conftest import TENANT, Worker


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("application/json", JSON),
        ("application/*", JSON),
        ("image/*", PNG),
        ("image/png", PNG),
        ("IMAGE/PNG", PNG),
        ("application/zip", ZIP),
        ("application/json;q=0.5, application/zip", ZIP),
        ("application/json;q=0, */*", PNG),
        ("image/png;q=0.4, application/zip;q=0.3", PNG),
        ("text/html, */*;q=0.1", JSON),
        ("image/webp,image/png;q=0.9,*/*;q=0.8", PNG),
        ("application/json;q=nonsense, image/png", PNG),
        ("image/png, application/json;q=nan", PNG),
    ],
)
def test_the_best_liked(accept: str | None, media: str) -> None:
    assert choose(accept) == media


@pytest.mark.parametrize("accept", ["text/html", "image/webp", "*/*;q=0", "nonsense", ";;;", "image/png;q=7"])
def test_none_liked(accept: str) -> None:
    with pytest.raises(NotAcceptable):
        choose(accept)


async def test_a_result_that_has_expired_is_gone(
    client: httpx.AsyncClient, app: FastAPI, worker: Worker, engine: sa.Engine
) -> None:
    await client.post("/v1/images", json={"prompt": "a gear"})
    later = JobStore(engine, clock=lambda: time.time() + WEEK_S + 60)
    assert later.retention.expire() == 1
    (job,) = later.page(TENANT).jobs
    with pytest.raises(Gone):
        await Finished.read(app.state.context, job)
