"""What the api counts, and where it is found."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request

import pytest
from prometheus_client import CollectorRegistry

from serve.telemetry import ApiMetrics
from tests.serve.telemetry.conftest import Value


@pytest.fixture
def metrics(collected: CollectorRegistry) -> ApiMetrics:
    return ApiMetrics(collected)


def test_a_request_is_counted_and_timed(metrics: ApiMetrics, value: Value) -> None:
    metrics.observe("POST", "/v1/images", 200, 0.3)
    metrics.observe("POST", "/v1/images", 503, 0.7)
    route = {"method": "POST", "route": "/v1/images"}
    assert value("cn_http_requests_total", **route, status="200") == 1
    assert value("cn_http_requests_total", **route, status="503") == 1
    assert value("cn_http_request_seconds_sum", **route) == 1.0
    assert value("cn_http_request_seconds_bucket", **route, le="0.5") == 1


def test_requests_in_flight_go_up_and_down(metrics: ApiMetrics, value: Value) -> None:
    with metrics.in_flight():
        with metrics.in_flight():
            assert value("cn_http_requests_in_flight") == 2
        assert value("cn_http_requests_in_flight") == 1
    assert value("cn_http_requests_in_flight") == 0


def test_a_request_that_breaks_is_no_longer_in_flight(metrics: ApiMetrics, value: Value) -> None:
    with pytest.raises(ZeroDivisionError), metrics.in_flight():
        _ = 1 / 0
    assert value("cn_http_requests_in_flight") == 0


def test_a_job_is_counted_when_it_is_accepted(metrics: ApiMetrics, value: Value) -> None:
    metrics.submitted("red")
    assert value("cn_jobs_submitted_total", tenant="red") == 1


def test_a_refusal_is_counted_by_its_reason(metrics: ApiMetrics, value: Value) -> None:
    metrics.refused("red", "quota-exceeded")
    assert value("cn_refusals_total", tenant="red", reason="quota-exceeded") == 1


def test_an_upload_is_counted_by_size(metrics: ApiMetrics, value: Value) -> None:
    metrics.upload(100_000)
    assert value("cn_upload_bytes_bucket", le="65536.0") == 0
    assert value("cn_upload_bytes_bucket", le="131072.0") == 1


def test_two_do_not_share_numbers(value: Value, collected: CollectorRegistry) -> None:
    ApiMetrics(CollectorRegistry()).submitted("red")
    ApiMetrics(collected)
    assert value("cn_jobs_submitted_total", tenant="red") is None


def test_it_is_served_until_stopped(metrics: ApiMetrics) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    metrics.submitted("red")
    stop = metrics.serve("127.0.0.1", port)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            assert b'cn_jobs_submitted_total{tenant="red"} 1.0' in answer.read()
    finally:
        stop()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5)
