"""Metrics inside Ray: the rows of `serve.telemetry.METRICS` as `ray.util.metrics`, which Ray's agents scrape."""

from __future__ import annotations

from ray.util import metrics

from serve.telemetry import Counter, Gauge, Histogram, Metric


class RayInstruments:
    """`serve.telemetry.Instruments` for replicas."""

    def counter(self, metric: Metric) -> Counter:
        """A counter; Ray adds the `_total` that the name already has."""
        return _Counter(metrics.Counter(metric.name.removesuffix("_total"), metric.help, metric.labels))

    def gauge(self, metric: Metric) -> Gauge:
        """A gauge."""
        made: Gauge = metrics.Gauge(metric.name, metric.help, metric.labels)
        return made

    def histogram(self, metric: Metric) -> Histogram:
        """A histogram."""
        made: Histogram = metrics.Histogram(metric.name, metric.help, list(metric.buckets), metric.labels)
        return made


class _Counter:
    """Takes 0, which Ray's own `inc` refuses: a series that begins with its first event hides that from every rate."""

    def __init__(self, made: metrics.Counter) -> None:
        self._made = made

    def inc(self, value: float = 1.0, tags: dict[str, str] | None = None) -> None:
        self._made._record(value, tags=tags)
