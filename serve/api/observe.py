"""What happens around every request: an id, RED metrics by route, one log line, and an answer whatever goes wrong."""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Callable

from opentelemetry import trace
from opentelemetry.trace import SpanKind
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.api import problems, quotas
from serve.errors import Internal, Overloaded, ServeError, TooManyRequests
from serve.jobs.database import StoreUnavailable
from serve.telemetry import ApiMetrics, Tracing, bind, trace_id

log = logging.getLogger("serve.api")

_SANE_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
ALWAYS = frozenset({"/healthz", "/readyz"})
"""Answered however busy it is: a process that is restarted for being busy helps nobody."""

GONE = 499
"""Counted where the client left before there was an answer (nginx's number; it is never sent)."""


class Observe:
    """ASGI middleware, the outermost of ours.

    A sane `X-Request-ID` is kept, else one is made; it is in `scope["state"]["request_id"]`, in the answer's header, in
    every problem and in every log line of this module. Of a request that is traced so is the trace's, in `X-Trace-ID`.

    Args:
        app: What is observed.
        metrics: Told of every request.
        most: Requests answered at once; one more is told to come back. What a body may hold in memory, times this, is
            what the process may need.
        clock: Seconds that only grow.
        tracing: Makes a span of every request, below the caller's where it names one.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: ApiMetrics,
        most: int = 512,
        clock: Callable[[], float] = time.perf_counter,
        tracing: Tracing | None = None,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._most = most
        self._running = 0
        self._clock = clock
        self._tracing = tracing or Tracing("api", None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        self._running += 1
        try:
            with (
                bind(request_id=request_id),
                self._metrics.in_flight(),
                self._tracing.span(_method(scope), _traceparent(scope), kind=SpanKind.SERVER),
            ):
                await self._serve(scope, receive, send, request_id)
        finally:
            self._running -= 1

    async def _serve(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        began = self._clock()
        status = GONE

        async def tagged(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", request_id.encode()),
                    (b"x-content-type-options", b"nosniff"),
                    *_trace_header(),
                    *quotas.headers(scope["state"]),
                ]
            await send(message)

        try:
            if self._running > self._most and scope["path"] not in ALWAYS:
                raise Overloaded(f"More than {self._most} requests are being answered.", retry_after_s=1)
            await self._app(scope, receive, tagged)
        except ClientDisconnect:
            pass
        except Exception as error:
            if status != GONE:  # an answer began and can't be taken back: the server closes the connection
                log.exception("answer broken off", extra={"request_id": request_id})
                raise
            await self._problem(error, request_id, problems.job_of(error, scope["state"]))(scope, receive, tagged)
        finally:
            seconds = self._clock() - began
            method, route = _method(scope), _template(scope)
            tenant = scope["state"].get("tenant")  # of whoever proved it
            self._metrics.observe(method, route, status, seconds)
            _describe(trace.get_current_span(), method, route, status)
            self._count(scope["state"].get("error"), tenant)
            log.info(
                "request",
                extra={
                    "request_id": request_id,
                    "method": method,
                    "route": route,
                    "status": status,
                    "seconds": round(seconds, 4),
                    **({} if tenant is None else {"tenant": tenant}),
                },
            )

    def _count(self, error: ServeError | None, tenant: str | None) -> None:
        if isinstance(error, TooManyRequests) and tenant is not None:
            self._metrics.refused(tenant, error.type)
        elif isinstance(error, StoreUnavailable):
            self._metrics.ends.store_away()

    def _problem(self, error: Exception, request_id: str, job_id: str | None) -> Response:
        if isinstance(error, ServeError | HTTPException):
            return problems.response(error, request_id, job_id)
        log.error("unexpected error", exc_info=error, extra={"request_id": request_id})
        return problems.response(Internal("Something went wrong here. Quote the request id."), request_id, job_id)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _SANE_ID.fullmatch(value):
            return bytes(value).decode()
    return secrets.token_hex(12)


def _describe(span: trace.Span, method: str, route: str, status: int) -> None:
    span.update_name(f"{method} {route}")  # which is known only now
    span.set_attributes({"http.request.method": method, "http.route": route, "http.response.status_code": status})
    if status >= 500:
        span.set_status(trace.StatusCode.ERROR)


def _traceparent(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"traceparent":
            return bytes(value).decode("latin-1")
    return None


def _trace_header() -> list[tuple[bytes, bytes]]:
    identity = trace_id()
    return [] if identity is None else [(b"x-trace-id", identity.encode())]


def _method(scope: Scope) -> str:
    method: str = scope["method"]
    return method if method in problems.METHODS else "other"


def _template(scope: Scope) -> str:
    """A label of few values: the route's template, never what a stranger typed."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) else "unmatched"
