"""What the api counts, and where Prometheus finds it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server

from serve.telemetry.ends import Ends
from serve.telemetry.instruments import PrometheusInstruments
from serve.telemetry.labels import Tenants
from serve.telemetry.names import METRICS


class ApiMetrics:
    """What the api counts.

    Args:
        registry: Where it is collected; a new one when not given.

    Attributes:
        ends: Of the jobs that the api cancels while they wait.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._registry = registry if registry is not None else CollectorRegistry()
        make = PrometheusInstruments(self._registry)
        self._tenants = Tenants()
        self._requests = make.counter(METRICS["cn_http_requests_total"])
        self._request_seconds = make.histogram(METRICS["cn_http_request_seconds"])
        self._in_flight = make.gauge(METRICS["cn_http_requests_in_flight"])
        self._submitted = make.counter(METRICS["cn_jobs_submitted_total"])
        self._refusals = make.counter(METRICS["cn_refusals_total"])
        self._upload_bytes = make.histogram(METRICS["cn_upload_bytes"])
        self.ends = Ends(make, self._tenants)
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

    def submitted(self, tenant: str) -> None:
        """Count a job that was accepted."""
        self._submitted.inc(1, {"tenant": self._tenants.label(tenant)})
        self.ends.expect(tenant)

    def refused(self, tenant: str, reason: str) -> None:
        """Count a request that was one too many; `reason` is the problem's type."""
        self._refusals.inc(1, {"tenant": self._tenants.label(tenant), "reason": reason})

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
