"""What imaging and samplers count."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from serve.errors import NotFound
from serve.telemetry import ImagingMetrics, PrometheusInstruments, SamplerMetrics
from tests.serve.telemetry.conftest import Value


@pytest.fixture
def sampler(collected: CollectorRegistry) -> SamplerMetrics:
    return SamplerMetrics(PrometheusInstruments(collected))


@pytest.fixture
def imaging(collected: CollectorRegistry) -> ImagingMetrics:
    times = iter(float(i) for i in range(100))
    return ImagingMetrics(PrometheusInstruments(collected), lambda: next(times))


def test_a_step_is_timed_and_its_rows_counted(sampler: SamplerMetrics, value: Value) -> None:
    sampler.step(rows=6, bucket=8, seconds=0.05)
    sampler.step(rows=8, bucket=8, seconds=0.05)
    assert value("cn_step_seconds_count", bucket="8") == 2
    assert value("cn_step_rows_total", kind="used") == 14
    assert value("cn_step_rows_total", kind="padding") == 2


def test_an_image_is_counted_by_its_outcome(sampler: SamplerMetrics, value: Value) -> None:
    sampler.image("failed")
    assert value("cn_images_total", outcome="failed") == 1


def test_a_look_for_a_bundle_hits_or_misses(sampler: SamplerMetrics, value: Value) -> None:
    sampler.cache(hit=True)
    sampler.cache(hit=False)
    assert value("cn_cache_total", outcome="hit") == value("cn_cache_total", outcome="miss") == 1


def test_a_load_is_counted_and_timed(sampler: SamplerMetrics, value: Value) -> None:
    sampler.loaded("failed", 3.0)
    assert value("cn_model_loads_total", outcome="failed") == 1
    assert value("cn_model_load_seconds_sum") == 3


def test_work_on_pixels_is_timed(imaging: ImagingMetrics, value: Value) -> None:
    with imaging.annotate("canny"):
        pass
    assert value("cn_annotate_seconds_sum", annotator="canny") == 1


def test_an_artifact_that_could_not_be_read_is_an_error(imaging: ImagingMetrics, value: Value) -> None:
    with pytest.raises(OSError, match="away"), imaging.artifact("read"):
        raise OSError("away")
    assert value("cn_artifact_errors_total", operation="read") == 1
    assert value("cn_artifact_seconds_count", operation="read") is None


def test_an_artifact_that_is_not_there_is_none(imaging: ImagingMetrics, value: Value) -> None:
    with pytest.raises(NotFound), imaging.artifact("read"):
        raise NotFound("There is no such artifact.")
    assert value("cn_artifact_errors_total", operation="read") == 0
