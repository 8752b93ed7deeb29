"""JSON log lines. A line shows only the extra fields that `EXTRA` lists: none holds a prompt, a key or a picture."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

from serve.telemetry.tracing import trace_id

_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
_job_id: ContextVar[str | None] = ContextVar("job_id", default=None)
_tenant: ContextVar[str | None] = ContextVar("tenant", default=None)
_CONTEXT = (_request_id, _job_id, _tenant)

EXTRA = (
    *("request_id", "job_id", "tenant", "attempt"),
    *("method", "route", "status", "seconds"),
    *("model", "version", "digest", "fault", "reason", "artifacts"),
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
        if (traced := trace_id()) is not None:
            line["trace_id"] = traced
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
