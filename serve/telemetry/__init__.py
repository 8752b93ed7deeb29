"""What the platform says of itself: JSON log lines, metrics by name, traces.

None ever holds a prompt, a key or a picture: a log line shows only the extra fields that `logs.EXTRA` lists, and
metrics have only the labels of `names.METRICS`, whose values are few. `prometheus_client` serves the api; Ray replicas
give the same table to `ray.util.metrics` through `Instruments`, because Ray scrapes only its own (and puts `ray_`
before the names).

names          every metric, with unit and help      labels       tenants as labels, bounded
instruments    what makes metrics of names           ends         how jobs end, whoever ended them
api dispatching replicas    what each process counts              logs         JSON lines
"""

from __future__ import annotations

from serve.telemetry.api import ApiMetrics
from serve.telemetry.dispatching import DispatcherMetrics
from serve.telemetry.instruments import Counter, Gauge, Histogram, Instruments, PrometheusInstruments
from serve.telemetry.labels import OTHER, TENANTS, Tenants
from serve.telemetry.logs import CHATTY, EXTRA, JsonFormatter, bind, configure_logging, request_id
from serve.telemetry.names import METRICS, Metric
from serve.telemetry.replicas import ImagingMetrics, SamplerMetrics

__all__ = [
    "CHATTY",
    "EXTRA",
    "METRICS",
    "OTHER",
    "TENANTS",
    "ApiMetrics",
    "Counter",
    "DispatcherMetrics",
    "Gauge",
    "Histogram",
    "ImagingMetrics",
    "Instruments",
    "JsonFormatter",
    "Metric",
    "PrometheusInstruments",
    "SamplerMetrics",
    "Tenants",
    "bind",
    "configure_logging",
    "request_id",
]
