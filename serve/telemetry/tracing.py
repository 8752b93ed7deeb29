"""One trace for a job's whole way: HTTP, store, dispatcher, imaging, sampler, webhook.

A trace crosses processes as a W3C `traceparent`: in the job's row from the api to whoever claims it, and in Ray's calls
from there. Nothing here is global: each process has a `Tracing` of its own, which makes nothing where nobody is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, TraceIdRatioBased
from opentelemetry.trace import NoOpTracer, Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

Value = str | int | float | bool

HEADER = "traceparent"
SEND_EVERY_MS = 1000.0
"""What a process that is killed has not told yet, at most."""

_PROPAGATOR = TraceContextTextMapPropagator()
_NANO = 1_000_000_000


class Tracing:
    """The spans of one process.

    Args:
        service: What the process is called in traces: `api`, `dispatcher`, `imaging`, `sampler`.
        endpoint: Of an OTLP receiver over HTTP (`http://127.0.0.1:4318`); none makes no spans.
        ratio: Share of the traces that begin here; where another began it, that one decided. A caller from outside
            decides nothing: of the traces that it brings, this share is kept, too.
        edge: Whether callers are from outside.
        exporter: Told of spans instead of the receiver.
    """

    def __init__(
        self,
        service: str,
        endpoint: str | None,
        ratio: float = 1.0,
        *,
        edge: bool = False,
        exporter: SpanExporter | None = None,
    ) -> None:
        self._provider: TracerProvider | None = None
        self._tracer: trace.Tracer = NoOpTracer()
        if endpoint is None and exporter is None:
            return
        if exporter is None:
            # `requests` and protobuf: only where they are used.
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            exporter = OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces")
        some = TraceIdRatioBased(ratio)
        sampler = ParentBased(some, remote_parent_sampled=some) if edge else ParentBased(ALWAYS_OFF)
        self._provider = TracerProvider(sampler=sampler, resource=Resource({"service.name": f"controlnet-{service}"}))
        self._provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=SEND_EVERY_MS))
        self._tracer = self._provider.get_tracer("controlnet")

    @contextmanager
    def span(
        self,
        name: str,
        parent: str | None = None,
        attributes: Mapping[str, Value] | None = None,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        since: float | None = None,
    ) -> Iterator[Span]:
        """A span around what runs inside, below the current one or `parent`; an exception that leaves marks it.

        Args:
            name: Of few values; what tells one from another is an attribute.
            parent: A `traceparent` from elsewhere.
            attributes: For people; never a prompt or a key.
            kind: Of span.
            since: When it really began, in epoch seconds.
        """
        if self._provider is None:
            yield trace.INVALID_SPAN
            return
        start = None if since is None else int(since * _NANO)
        with self._tracer.start_as_current_span(
            name,
            _context(parent),
            kind,
            attributes,
            start_time=start,
            record_exception=False,  # its message may hold what a client sent
            set_status_on_exception=False,
        ) as span:
            try:
                yield span
            except Exception as error:
                span.set_status(Status(StatusCode.ERROR, type(error).__name__))
                raise

    def past(self, name: str, parent: str | None, since: float, until: float) -> None:
        """A span of what is over already, in epoch seconds: the wait that nobody was there to watch."""
        if self._provider is None:
            return
        span = self._tracer.start_span(name, _context(parent), start_time=int(since * _NANO))
        span.end(int(until * _NANO))

    def open(self, name: str, parent: str | None, attributes: Mapping[str, Value] | None = None) -> Span:
        """A span that its holder ends, from whichever thread."""
        if self._provider is None:
            return trace.INVALID_SPAN
        return self._tracer.start_span(name, _context(parent), attributes=attributes)

    def close(self) -> None:
        """Send what is left."""
        if self._provider is not None:
            self._provider.shutdown()


def carry() -> str | None:
    """The current span as a `traceparent`, to hand on; none where nothing is traced."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get(HEADER)


def trace_id() -> str | None:
    """Of the current span, where it is one that is kept."""
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid and context.trace_flags.sampled else None


def trace_id_of(traceparent: str | None) -> str | None:
    """Of a `traceparent` whose spans are kept."""
    if traceparent is None:
        return None
    _, identity, _, flags = traceparent.split("-")
    return identity if int(flags, 16) & 1 else None


def _context(parent: str | None) -> Context | None:
    """None takes the current one."""
    return None if parent is None else _PROPAGATOR.extract({HEADER: parent}, Context())
