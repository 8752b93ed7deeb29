"""`python -m serve.api`: open what the settings name and serve until told to stop."""

from __future__ import annotations

from functools import partial
from socket import socket

import uvicorn
from fastapi import FastAPI

from serve.api.app import create_app
from serve.api.connections import BOUNDS, Bounds, Connection
from serve.api.streams import Streams
from serve.config import Settings, read_settings
from serve.errors import OperatorError
from serve.jobs.artifacts import ArtifactStore
from serve.jobs.database import apart, reach_database
from serve.jobs.signals import open_signals
from serve.jobs.store import JobStore
from serve.telemetry import ApiMetrics, Tracing, configure_logging
from serve.tenancy.tenancy import Tenancy

LAST_WORDS_S = 8  # for requests in flight when stopping; `cnserve up` waits 10. Their jobs go on in any case


def main() -> None:
    """Entry point; what the operator has to change is its last word."""
    try:
        run(read_settings())
    except OperatorError as error:
        raise SystemExit(str(error)) from error


def run(settings: Settings) -> None:
    """Serve as the settings have it, until told to stop.

    Raises:
        OperatorError: The database can't be used.
    """
    configure_logging(settings.log_level)
    engine = reach_database(settings.database_url)
    aside = apart(engine)
    signals = open_signals(engine)
    metrics = ApiMetrics()
    stop_metrics = metrics.serve(settings.host, settings.metrics_port)
    tracing = Tracing("api", settings.otlp_endpoint, settings.trace_ratio, edge=True)
    app = create_app(
        settings,
        JobStore(engine, max_attempts=settings.attempts, retention_s=settings.retention, observer=metrics.ends),
        Tenancy.over(engine, settings),
        ArtifactStore.open(settings.artifacts_url, settings.artifacts_options),
        signals,
        metrics,
        tracing=tracing,
        on_shutdown=(stop_metrics, tracing.close, signals.close, aside.dispose, engine.dispose),
        health=JobStore(aside),
    )
    server(app, settings.host, settings.port).run()


def server(app: FastAPI, host: str, port: int, bounds: Bounds = BOUNDS) -> Server:
    """The server of `app`, which strangers reach.

    Args:
        app: As `create_app` makes it.
        host: Address to listen on.
        port: Likewise.
        bounds: Of its connections.
    """
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=partial(Connection, bounds=bounds),  # type: ignore[arg-type]
        ws="none",
        log_config=None,
        access_log=False,  # `observe` writes a line with the request's id
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=bounds.head_bytes,
        timeout_graceful_shutdown=LAST_WORDS_S,
    )
    return Server(config, app.state.context.streams)


class Server(uvicorn.Server):
    """Does not wait for event streams when it stops: jobs outlive it, and clients resume their streams elsewhere.

    Args:
        config: Of uvicorn.
        streams: Those of the app.
    """

    def __init__(self, config: uvicorn.Config, streams: Streams) -> None:
        super().__init__(config)
        self._streams = streams

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """End the streams, then wait for requests in flight."""
        self._streams.close()
        await super().shutdown(sockets)


if __name__ == "__main__":
    main()
