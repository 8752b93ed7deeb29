"""Request ids and RED metrics."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from fastapi import FastAPI
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serve.api.app import create_app
from serve.api.observe import Observe
from serve.config import Settings
from serve.jobs.store import JobStore
from serve.telemetry import Tracing, trace_id_of
from tests.serve.api.conftest import Metrics, connected, problem_of


async def test_a_sane_request_id_is_kept(client: httpx.AsyncClient) -> None:
    answer = await client.get("/healthz", headers={"X-Request-ID": "req-1.a_B"})
    assert answer.headers["x-request-id"] == "req-1.a_B"


@pytest.mark.parametrize("sent", ["", "a" * 65, "a b", "é".encode(), "-x", "a\tb", '"}'])
async def test_any_other_is_replaced(client: httpx.AsyncClient, sent: str | bytes) -> None:
    answer = await client.get("/healthz", headers={"X-Request-ID": sent})  # type: ignore[dict-item]
    assert answer.headers["x-request-id"] != sent
    assert len(answer.headers["x-request-id"]) == 24


async def test_requests_are_counted_by_template(client: httpx.AsyncClient, metrics: Metrics) -> None:
    await client.get("/v1/jobs/job_secret")
    await client.get("/nowhere/at/all")
    await client.get("/v1/images")
    await client.get("/healthz")
    await client.get("/model/health")
    assert [entry[:3] for entry in metrics.requests] == [
        ("GET", "/v1/jobs/{job_id}", 404),
        ("GET", "unmatched", 404),
        ("GET", "/v1/images", 405),
        ("GET", "/healthz", 200),
        ("GET", "/model/health", 200),
    ]
    assert all(seconds >= 0 for *_, seconds in metrics.requests)


async def test_an_invented_method_is_no_label(client: httpx.AsyncClient, metrics: Metrics) -> None:
    await client.request("BREW", "/healthz")
    assert metrics.requests[0][0] == "other"


async def test_refused_bodies_are_counted(make_app: Callable[..., FastAPI], store: JobStore, metrics: Metrics) -> None:
    async with connected(make_app(max_body=10)) as client:
        await client.post("/v1/images", json={"prompt": "a gear"})
    assert metrics.requests[0][2] == 413


async def test_each_request_is_one_log_line(client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "serve.api"):
        answer = await client.get("/healthz")
    (record,) = [record for record in caplog.records if record.name == "serve.api"]
    assert record.__dict__["request_id"] == answer.headers["x-request-id"]
    assert (record.__dict__["route"], record.__dict__["status"]) == ("/healthz", 200)


async def test_one_request_too_many_is_told_to_come_back(metrics: Metrics) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            entered.set()
            await leave.wait()
        await Response("ok")(scope, receive, send)

    transport = httpx.ASGITransport(Observe(app, metrics, most=1))
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        slow = asyncio.create_task(client.get("/slow"))
        await entered.wait()
        refused = await client.get("/fast")
        assert problem_of(refused, 503)["type"] == "/problems/overloaded"
        assert refused.headers["retry-after"] == "1"
        assert (await client.get("/healthz")).status_code == 200
        leave.set()
        assert (await slow).status_code == 200
        assert (await client.get("/fast")).status_code == 200


async def test_answers_are_not_to_be_sniffed(client: httpx.AsyncClient) -> None:
    assert (await client.get("/healthz")).headers["x-content-type-options"] == "nosniff"


async def test_bodies_are_measured(client: httpx.AsyncClient, metrics: Metrics) -> None:
    await client.get("/healthz")
    await client.post("/v1/images", content=b"x" * 77, headers={"Content-Type": "application/json"})
    assert metrics.registry.get_sample_value("cn_upload_bytes_count") == 1
    assert metrics.registry.get_sample_value("cn_upload_bytes_sum") == 77


async def test_no_request_is_left_in_flight(client: httpx.AsyncClient, metrics: Metrics) -> None:
    await client.get("/nowhere")
    assert metrics.registry.get_sample_value("cn_http_requests_in_flight") == 0


def wait_for_spans(exporter: InMemorySpanExporter) -> None:
    while not exporter.get_finished_spans():
        threading.Event().wait(0.02)


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
async def traced(
    settings: Settings, store: JobStore, app: FastAPI, metrics: Metrics, exporter: InMemorySpanExporter
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an api whose requests are all traced."""
    context = app.state.context
    tracing = Tracing("api", None, exporter=exporter, edge=True)
    own = create_app(settings, store, context.tenancy, context.artifacts, context.signals, metrics, tracing=tracing)
    async with connected(own) as client:
        yield client
    tracing.close()


async def test_an_answer_and_its_problem_name_their_trace(traced: httpx.AsyncClient) -> None:
    answer = await traced.get("/v1/jobs/job_0")
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-trace-id"])
    assert answer.json()["trace_id"] == answer.headers["x-trace-id"]


async def test_a_callers_trace_goes_on(traced: httpx.AsyncClient) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = await traced.get("/healthz", headers={"traceparent": parent})
    assert answer.headers["x-trace-id"] == parent.split("-")[1]


async def test_a_request_is_a_span_of_its_route(traced: httpx.AsyncClient, exporter: InMemorySpanExporter) -> None:
    await traced.get("/problems/gone-and-forgotten")
    await asyncio.to_thread(wait_for_spans, exporter)
    (span,) = exporter.get_finished_spans()
    assert (span.name, span.attributes["http.response.status_code"]) == ("GET /problems/{kind}", 404)


async def test_a_job_carries_its_requests_trace(traced: httpx.AsyncClient, store: JobStore) -> None:
    answer = await traced.post("/v1/jobs", json={"prompt": "a brass gear", "steps": 2, "width": 128, "height": 128})
    job = store.get(answer.json()["id"])
    assert job is not None
    assert trace_id_of(job.trace) == answer.headers["x-trace-id"]


async def test_nobody_is_told_of_a_trace_that_is_not_made(client: httpx.AsyncClient) -> None:
    assert "x-trace-id" not in (await client.get("/v1/jobs/job_0")).headers
