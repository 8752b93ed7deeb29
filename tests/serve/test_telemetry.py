"""Log lines that a machine can read and that hold no secret; metrics under their names."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from serve.telemetry import (
    CHATTY,
    METRICS,
    ApiMetrics,
    JsonFormatter,
    PrometheusInstruments,
    ReplicaMetrics,
    bind,
    configure_logging,
    request_id,
)

log = logging.getLogger("serve.test")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What the process logs; the loggers are put back afterwards."""
    root, levels = logging.getLogger(), {name: logging.getLogger(name).level for name in CHATTY}
    handlers, level = list(root.handlers), root.level
    written = io.StringIO()
    configure_logging("info", written)
    yield written
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, number in levels.items():
        logging.getLogger(name).setLevel(number)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


class TestLogs:
    def test_a_line_is_one_json_object(self, stream: io.StringIO) -> None:
        log.info("%s of\n%d", "one", 2)
        (line,) = lines(stream)
        ts = datetime.fromisoformat(line.pop("ts"))
        assert line == {"level": "info", "logger": "serve.test", "message": "one of\n2"}
        assert ts.tzinfo == UTC
        assert abs((datetime.now(UTC) - ts).total_seconds()) < 60

    def test_bound_ids_are_on_every_line_inside(self, stream: io.StringIO) -> None:
        with bind(request_id="r1", tenant="red"), bind(job_id="j1"):
            log.info("inside")
        log.info("outside")
        inside, outside = lines(stream)
        assert (inside["request_id"], inside["tenant"], inside["job_id"]) == ("r1", "red", "j1")
        assert outside.keys() == {"ts", "level", "logger", "message"}

    def test_an_inner_binding_leaves_the_others(self, stream: io.StringIO) -> None:
        with bind(request_id="r1"):
            with bind(request_id="r2", job_id="j1"):
                assert request_id() == "r2"
            assert request_id() == "r1"
        assert request_id() is None

    async def test_tasks_and_threads_do_not_mix_their_ids(self, stream: io.StringIO) -> None:
        async def work(name: str) -> None:
            with bind(request_id=name):
                await asyncio.sleep(0)
                await asyncio.to_thread(log.info, name)

        await asyncio.gather(work("r1"), work("r2"))
        assert {(line["message"], line["request_id"]) for line in lines(stream)} == {("r1", "r1"), ("r2", "r2")}

    def test_known_fields_are_written_with_their_types(self, stream: io.StringIO) -> None:
        log.info("request", extra={"route": "/v1/images", "status": 200, "seconds": 0.25})
        (line,) = lines(stream)
        assert (line["route"], line["status"], line["seconds"]) == ("/v1/images", 200, 0.25)

    @pytest.mark.parametrize("field", ["prompt", "negative_prompt", "key", "authorization", "spec"])
    def test_other_fields_are_not(self, stream: io.StringIO, field: str) -> None:
        log.info("request", extra={field: "a secret"})
        assert "secret" not in stream.getvalue()

    def test_an_exception_stays_on_its_line(self, stream: io.StringIO) -> None:
        try:
            raise RuntimeError("broken")
        except RuntimeError:
            log.exception("failed")
        (line,) = lines(stream)
        assert line["exception"].endswith("RuntimeError: broken")

    def test_a_value_that_json_lacks_does_not_lose_the_line(self, stream: io.StringIO) -> None:
        log.info("request", extra={"model": object})
        assert lines(stream)[0]["model"] == "<class 'object'>"

    def test_below_the_level_nothing_is_written(self, stream: io.StringIO) -> None:
        log.debug("no")
        logging.getLogger("mlflow.store").info("no")
        assert lines(stream) == []

    def test_configured_twice_a_line_is_written_once(self, stream: io.StringIO) -> None:
        second = io.StringIO()
        configure_logging("warning", second)
        log.warning("once")
        assert lines(stream) == []
        assert len(lines(second)) == 1

    def test_other_handlers_stay(self, stream: io.StringIO) -> None:
        other = logging.NullHandler()
        logging.getLogger().addHandler(other)
        configure_logging("info", stream)
        handlers = logging.getLogger().handlers
        assert other in handlers
        assert sum(isinstance(handler.formatter, JsonFormatter) for handler in handlers) == 1


@pytest.fixture
def collected() -> CollectorRegistry:
    return CollectorRegistry()


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, labels)


class TestApiMetrics:
    @pytest.fixture
    def metrics(self, collected: CollectorRegistry) -> ApiMetrics:
        return ApiMetrics(collected)

    def test_a_request_is_counted_and_timed(self, metrics: ApiMetrics, collected: CollectorRegistry) -> None:
        metrics.observe("POST", "/v1/images", 200, 0.3)
        metrics.observe("POST", "/v1/images", 503, 0.7)
        route = {"method": "POST", "route": "/v1/images"}
        assert value(collected, "cn_http_requests_total", **route, status="200") == 1
        assert value(collected, "cn_http_requests_total", **route, status="503") == 1
        assert value(collected, "cn_http_request_seconds_sum", **route) == 1.0
        assert value(collected, "cn_http_request_seconds_bucket", **route, le="0.5") == 1

    def test_requests_in_flight_go_up_and_down(self, metrics: ApiMetrics, collected: CollectorRegistry) -> None:
        with metrics.in_flight():
            with metrics.in_flight():
                assert value(collected, "cn_http_requests_in_flight") == 2
            assert value(collected, "cn_http_requests_in_flight") == 1
        assert value(collected, "cn_http_requests_in_flight") == 0

    def test_a_request_that_breaks_is_no_longer_in_flight(
        self, metrics: ApiMetrics, collected: CollectorRegistry
    ) -> None:
        with pytest.raises(ZeroDivisionError), metrics.in_flight():
            _ = 1 / 0
        assert value(collected, "cn_http_requests_in_flight") == 0

    def test_a_job_is_counted_by_state_and_timed_at_its_end(
        self, metrics: ApiMetrics, collected: CollectorRegistry
    ) -> None:
        metrics.job("red", "queued")
        metrics.job("red", "succeeded", 12.0)
        assert value(collected, "cn_jobs_total", tenant="red", state="queued") == 1
        assert value(collected, "cn_jobs_total", tenant="red", state="succeeded") == 1
        assert value(collected, "cn_job_seconds_count", tenant="red") == 1
        assert value(collected, "cn_job_seconds_sum", tenant="red") == 12

    def test_an_upload_is_counted_by_size(self, metrics: ApiMetrics, collected: CollectorRegistry) -> None:
        metrics.upload(100_000)
        assert value(collected, "cn_upload_bytes_bucket", le="65536.0") == 0
        assert value(collected, "cn_upload_bytes_bucket", le="131072.0") == 1

    def test_two_do_not_share_numbers(self) -> None:
        one, two = CollectorRegistry(), CollectorRegistry()
        ApiMetrics(one).job("red", "queued")
        ApiMetrics(two)
        assert value(two, "cn_jobs_total", tenant="red", state="queued") is None

    def test_it_is_served_until_stopped(self, metrics: ApiMetrics) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        metrics.job("red", "queued")
        stop = metrics.serve("127.0.0.1", port)
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                assert b'cn_jobs_total{state="queued",tenant="red"} 1.0' in answer.read()
        finally:
            stop()
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5)


class TestReplicaMetrics:
    def test_a_step_is_timed_and_its_rows_counted(self, collected: CollectorRegistry) -> None:
        metrics = ReplicaMetrics(PrometheusInstruments(collected))
        metrics.step(rows=6, bucket=8, seconds=0.05)
        metrics.step(rows=8, bucket=8, seconds=0.05)
        assert value(collected, "cn_step_seconds_count", bucket="8") == 2
        assert value(collected, "cn_step_rows_total", kind="used") == 14
        assert value(collected, "cn_step_rows_total", kind="padding") == 2

    def test_an_image_is_counted_by_its_outcome(self, collected: CollectorRegistry) -> None:
        ReplicaMetrics(PrometheusInstruments(collected)).image("failed")
        assert value(collected, "cn_images_total", outcome="failed") == 1


class TestTable:
    def test_the_text_that_is_scraped_has_the_names_and_helps_of_the_table(self, collected: CollectorRegistry) -> None:
        ApiMetrics(collected)
        ReplicaMetrics(PrometheusInstruments(collected))
        text = generate_latest(collected).decode()
        for metric in METRICS.values():
            assert f"# HELP {metric.name} {metric.help}\n" in text

    @pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS.keys())
    def test_no_label_tells_one_request_from_another(self, metric: Any) -> None:
        assert metric.name.startswith("cn_")
        assert not {"prompt", "key", "job", "job_id", "request_id", "path"} & set(metric.labels)
        assert list(metric.buckets) == sorted(set(metric.buckets))


def test_ray_and_torch_stay_out() -> None:
    code = "import sys, serve.telemetry; sys.exit('ray' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
