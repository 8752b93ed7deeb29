"""The table of metrics, and how many series there can be."""

from __future__ import annotations

import subprocess
import sys

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from serve.jobs.census import Census
from serve.jobs.changes import Ended
from serve.jobs.fairness import Backlog
from serve.telemetry import (
    METRICS,
    TENANTS,
    ApiMetrics,
    DispatcherMetrics,
    ImagingMetrics,
    Metric,
    PrometheusInstruments,
    SamplerMetrics,
)
from serve.telemetry.names import API, DISPATCHER, EVERYWHERE, IMAGING, SAMPLER
from tests.serve.telemetry.conftest import lease

PROCESSES = {
    "api": (lambda collected: ApiMetrics(collected), (*API, *EVERYWHERE)),
    "dispatcher": (lambda collected: DispatcherMetrics(PrometheusInstruments(collected)), (*DISPATCHER, *EVERYWHERE)),
    "imaging": (lambda collected: ImagingMetrics(PrometheusInstruments(collected)), IMAGING),
    "sampler": (lambda collected: SamplerMetrics(PrometheusInstruments(collected)), SAMPLER),
}


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_has_the_names_and_helps_of_the_table_and_no_others(
    process: str, collected: CollectorRegistry
) -> None:
    make, table = PROCESSES[process]
    make(collected)
    text = generate_latest(collected).decode()
    helps = {line for line in text.splitlines() if line.startswith("# HELP") and "_created " not in line}
    assert helps == {f"# HELP {metric.name} {metric.help}" for metric in table}


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS.keys())
def test_a_name_says_the_kind_and_the_unit(metric: Metric) -> None:
    assert metric.name.startswith("cn_")
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    unit = metric.unit.lower()
    assert metric.name.removesuffix("_total").endswith(unit) or not unit
    assert (metric.kind == "histogram") == bool(metric.buckets)
    assert list(metric.buckets) == sorted(set(metric.buckets))


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS.keys())
def test_no_label_tells_one_request_from_another(metric: Metric) -> None:
    assert not {"prompt", "key", "job", "job_id", "request_id", "path"} & set(metric.labels)


def series(collected: CollectorRegistry) -> int:
    return sum(not line.startswith("#") for line in generate_latest(collected).decode().splitlines())


def test_the_number_of_series_is_bounded_however_many_teams_and_jobs_there_are(collected: CollectorRegistry) -> None:
    dispatcher = DispatcherMetrics(PrometheusInstruments(collected))

    def day(teams: int, jobs: int) -> int:
        names = [f"team{i}" for i in range(teams)]
        dispatcher.census(Census(dict.fromkeys(names, Backlog(1, 2, 3.0, 0.0)), {}, "job_1", 1.0, 0))
        for i in range(jobs):
            dispatcher.claimed(lease(names[i % teams]), 2.0)
            for outcome in ("succeeded", "failed", "cancelled", "refused", "late"):
                dispatcher.ended(Ended(names[i % teams], outcome, 1.0, images=1, stages={"sampling": 1.0}, gflop=1.0))
        return series(collected)

    full = day(TENANTS + 1, 2 * TENANTS)
    assert day(1_000, 10_000) == full
    assert full < 6_000


def test_the_api_has_as_few_series(collected: CollectorRegistry) -> None:
    api = ApiMetrics(collected)

    def day(teams: int) -> int:
        for i in range(10_000):
            api.submitted(f"team{i % teams}")
            api.refused(f"team{i % teams}", "quota-exceeded")
            api.ends.ended(Ended(f"team{i % teams}", "cancelled", 1.0))
        return series(collected)

    full = day(TENANTS + 1)
    assert day(1_000) == full


def test_ray_and_torch_stay_out() -> None:
    code = "import sys, serve.telemetry; sys.exit('ray' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
