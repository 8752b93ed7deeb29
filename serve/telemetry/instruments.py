"""What makes metrics out of rows of `METRICS`: `prometheus_client` here, `ray.util.metrics` inside Ray."""

from __future__ import annotations

from typing import Protocol, TypeVar

import prometheus_client
from prometheus_client import CollectorRegistry

from serve.telemetry.names import Metric


class Counter(Protocol):
    """Only grows. These three have the signatures of `ray.util.metrics`."""

    def inc(self, value: float = 1.0, tags: dict[str, str] | None = None) -> None:
        """Add to it; 0 makes its series begin, so that the first event is a change."""
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
