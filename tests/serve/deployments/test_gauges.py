"""What is so, shown as gauges: a real store, and the real metrics."""

from __future__ import annotations

import asyncio

import sqlalchemy as sa
from prometheus_client import CollectorRegistry

from serve.deployments.gauges import Gauges
from serve.jobs.signals import SqliteSignals
from serve.jobs.store import JobStore
from serve.telemetry import DispatcherMetrics, PrometheusInstruments
from serve.tenancy.keys import Keys
from tests.serve.deployments.conftest import Platform


async def test_signals_that_are_cut_off_are_shown(platform: Platform, engine: sa.Engine) -> None:
    signals, collected = SqliteSignals(engine), CollectorRegistry()
    signals._lost(OSError("no disk"))
    gauges = Gauges(
        JobStore(engine),
        Keys(engine, lambda: 0.0),
        platform.reconciler,  # type: ignore[arg-type]
        signals,
        DispatcherMetrics(PrometheusInstruments(collected)),
        "demo",
    )
    looking = asyncio.create_task(gauges.loop())
    while not collected.get_sample_value("cn_signals_cut_off_seconds"):
        await asyncio.sleep(0)
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    signals.close()
