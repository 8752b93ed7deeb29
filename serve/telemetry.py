"""What the platform says of itself: JSON log lines, and metrics by name.

Neither ever holds a prompt, a key or a picture: a log line shows only the extra fields that `EXTRA` lists, and metrics
have only the labels of `METRICS`, whose values are few. `prometheus_client` serves the api; Ray replicas give the same
table to `ray.util.metrics` through `Instruments`, because Ray scrapes only its own (and puts `ray_` before the names).
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, TextIO, TypeVar

import prometheus_client
from prometheus_client import CollectorRegistry, start_http_server

# Logs

_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
_job_id: ContextVar[str | None] = ContextVar("job_id", default=None)
_tenant: ContextVar[str | None] = ContextVar("tenant", default=None)
_CONTEXT = (_request_id, _job_id, _tenant)

EXTRA = (
    *("request_id", "job_id", "tenant", "attempt"),
    *("method", "route", "status", "seconds"),
    *("model", "version", "digest", "fault", "reason"),
)
"""Fields of `extra=` that are written. A list of what may be, so that nobody logs a prompt by adding a field."""

CHATTY = ("alembic", "azure", "git", "httpx", "mlflow", "urllib3")
"""Libraries that are heard from WARNING up."""


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ts, level, logger, message, what `bind` bound, the fields of `EXTRA`, exception."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON; UTC time with milliseconds."""
        line: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {variable.name: value for variable in _CONTEXT if (value := variable.get()) is not None}
        line |= {name: getattr(record, name) for name in EXTRA if hasattr(record, name)}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def configure_logging(level: str = "info", stream: TextIO | None = None) -> None:
    """Write the root logger's lines as JSON. For entry points; called again, it replaces what it did before.

    Args:
        level: debug, info, warning or error.
        stream: Standard error when not given.
    """
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler.formatter, JsonFormatter)]:
        root.removeHandler(handler)
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    root.addHandler(handler)
    root.setLevel(level.upper())
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


@contextmanager
def bind(*, request_id: str | None = None, job_id: str | None = None, tenant: str | None = None) -> Iterator[None]:
    """Put ids on every line logged inside, in this task and in what it starts; None leaves one as it is."""
    given = zip(_CONTEXT, (request_id, job_id, tenant), strict=True)
    tokens = [(variable, variable.set(value)) for variable, value in given if value is not None]
    try:
        yield
    finally:
        for variable, token in tokens:
            variable.reset(token)


def request_id() -> str | None:
    """The id bound here, to hand on to another process."""
    return _request_id.get()


# Metrics


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of `METRICS`. Buckets are upper bounds, for histograms only."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


ANSWER = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
JOB = (0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
STEP = (0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.0, 2.0, 5.0, 15.0, 60.0)
BYTES = tuple(float(1 << shift) for shift in range(14, 26))  # 16 KiB .. 32 MiB

METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        # The api.
        Metric("cn_http_requests_total", "HTTP requests answered.", ("method", "route", "status")),
        Metric("cn_http_request_seconds", "Time from a request to the end of its answer.", ("method", "route"), ANSWER),
        Metric("cn_http_requests_in_flight", "HTTP requests that are being answered."),
        Metric("cn_jobs_total", "Jobs that came to a state.", ("tenant", "state")),
        Metric("cn_job_seconds", "Time from a job's submission to its end.", ("tenant",), JOB),
        Metric("cn_upload_bytes", "Size of request bodies with pictures.", (), BYTES),
        # The samplers.
        Metric("cn_step_seconds", "Time of one batched denoising step.", ("bucket",), STEP),
        Metric("cn_step_rows_total", "Rows that steps worked on: used by images, or padding.", ("kind",)),
        Metric("cn_images_total", "Images that left the engine.", ("outcome",)),
    )
}


class Counter(Protocol):
    """Only grows. These three have the signatures of `ray.util.metrics`."""

    def inc(self, value: float = 1.0, tags: dict[str, str] | None = None) -> None:
        """Add to it."""
        ...


class Gauge(Protocol):
    """Goes up and down."""

    def set(self, value: float, tags: dict[str, str] | None = None) -> None:
        """Replace its value."""
        ...


class Histogram(Protocol):
    """Counts by size."""

    def observe(self, value: float, tags: dict[str, str] | None = None) -> None:
        """Count one."""
        ...


class Instruments(Protocol):
    """Makes metrics out of rows of `METRICS`."""

    def counter(self, metric: Metric) -> Counter:
        """A counter; its name ends in `_total`, which Ray adds itself."""
        ...

    def gauge(self, metric: Metric) -> Gauge:
        """A gauge."""
        ...

    def histogram(self, metric: Metric) -> Histogram:
        """A histogram with the metric's buckets."""
        ...


_Child = TypeVar("_Child", prometheus_client.Counter, prometheus_client.Gauge, prometheus_client.Histogram)


def _child(parent: _Child, tags: dict[str, str] | None) -> _Child:
    return parent.labels(**tags) if tags else parent


class _PrometheusCounter:
    def __init__(self, parent: prometheus_client.Counter) -> None:
        self._parent = parent

    def inc(self, value: float = 1.0, tags: dict[str, str] | None = None) -> None:
        _child(self._parent, tags).inc(value)


class _PrometheusGauge:
    def __init__(self, parent: prometheus_client.Gauge) -> None:
        self._parent = parent

    def set(self, value: float, tags: dict[str, str] | None = None) -> None:
        _child(self._parent, tags).set(value)


class _PrometheusHistogram:
    def __init__(self, parent: prometheus_client.Histogram) -> None:
        self._parent = parent

    def observe(self, value: float, tags: dict[str, str] | None = None) -> None:
        _child(self._parent, tags).observe(value)


class PrometheusInstruments:
    """Metrics outside Ray.

    Args:
        registry: Where they are collected; never the library's global one.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def counter(self, metric: Metric) -> Counter:
        """A counter."""
        made = prometheus_client.Counter(metric.name, metric.help, metric.labels, registry=self._registry)
        return _PrometheusCounter(made)

    def gauge(self, metric: Metric) -> Gauge:
        """A gauge."""
        return _PrometheusGauge(
            prometheus_client.Gauge(metric.name, metric.help, metric.labels, registry=self._registry)
        )

    def histogram(self, metric: Metric) -> Histogram:
        """A histogram."""
        made = prometheus_client.Histogram(
            metric.name, metric.help, metric.labels, registry=self._registry, buckets=metric.buckets
        )
        return _PrometheusHistogram(made)


class ApiMetrics:
    """What the api counts.

    Args:
        registry: Where it is collected; a new one when not given.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._registry = registry if registry is not None else CollectorRegistry()
        make = PrometheusInstruments(self._registry)
        self._requests = make.counter(METRICS["cn_http_requests_total"])
        self._request_seconds = make.histogram(METRICS["cn_http_request_seconds"])
        self._in_flight = make.gauge(METRICS["cn_http_requests_in_flight"])
        self._jobs = make.counter(METRICS["cn_jobs_total"])
        self._job_seconds = make.histogram(METRICS["cn_job_seconds"])
        self._upload_bytes = make.histogram(METRICS["cn_upload_bytes"])
        self._running = 0
        self._in_flight.set(0)

    @contextmanager
    def in_flight(self) -> Iterator[None]:
        """Count a request as being answered; on the event loop's thread."""
        self._running += 1
        self._in_flight.set(self._running)
        try:
            yield
        finally:
            self._running -= 1
            self._in_flight.set(self._running)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request; `route` is the template, never the path."""
        self._requests.inc(1, {"method": method, "route": route, "status": str(status)})
        self._request_seconds.observe(seconds, {"method": method, "route": route})

    def job(self, tenant: str, state: str, seconds: float | None = None) -> None:
        """Count a job that came to a state; `seconds` since its submission when that state is its last."""
        self._jobs.inc(1, {"tenant": tenant, "state": state})
        if seconds is not None:
            self._job_seconds.observe(seconds, {"tenant": tenant})

    def upload(self, size: int) -> None:
        """Count the bytes of a request's body."""
        self._upload_bytes.observe(size)

    def serve(self, host: str, port: int) -> Callable[[], None]:
        """Answer Prometheus at `http://host:port/metrics`, on a port that isn't the tenants'.

        Returns:
            A call that stops it.

        Raises:
            OSError: The port is taken.
        """
        server, thread = start_http_server(port, host, self._registry)

        def stop() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return stop


class ReplicaMetrics:
    """What a sampler counts.

    Args:
        make: `ray.util.metrics` in a replica.
    """

    def __init__(self, make: Instruments) -> None:
        self._step_seconds = make.histogram(METRICS["cn_step_seconds"])
        self._rows = make.counter(METRICS["cn_step_rows_total"])
        self._images = make.counter(METRICS["cn_images_total"])

    def step(self, rows: int, bucket: int, seconds: float) -> None:
        """Count a step of `rows` rows that was padded up to `bucket`."""
        self._step_seconds.observe(seconds, {"bucket": str(bucket)})
        self._rows.inc(rows, {"kind": "used"})
        if bucket > rows:
            self._rows.inc(bucket - rows, {"kind": "padding"})

    def image(self, outcome: str) -> None:
        """Count an image: finished, failed or cancelled."""
        self._images.inc(1, {"outcome": outcome})
