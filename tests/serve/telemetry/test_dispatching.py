"""What a dispatcher counts of jobs and shows of the queue."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from serve.jobs.census import Census
from serve.jobs.changes import Ended, PutBack
from serve.jobs.fairness import Backlog
from serve.telemetry import DispatcherMetrics, PrometheusInstruments
from tests.serve.telemetry.conftest import Value, lease


@pytest.fixture
def metrics(collected: CollectorRegistry) -> DispatcherMetrics:
    return DispatcherMetrics(PrometheusInstruments(collected))


def census(**queued: int) -> Census:
    backlogs = {tenant: Backlog(jobs, jobs, 2.0 * jobs, 0.0) for tenant, jobs in queued.items()}
    return Census(backlogs, {"red": 2}, "job_1", 7.0, 1)


def test_a_job_that_succeeded_is_timed_and_metered(metrics: DispatcherMetrics, value: Value) -> None:
    metrics.ended(Ended("red", "succeeded", 12.0, images=3, stages={"sampling": 4.0, "total": 12.0}, gflop=5.0))
    assert value("cn_jobs_total", tenant="red", outcome="succeeded") == 1
    assert value("cn_job_seconds_sum", tenant="red") == 12
    assert value("cn_images_made_total", tenant="red") == 3
    assert value("cn_gpu_seconds_total", tenant="red") == 4
    assert value("cn_gflop_total", tenant="red") == 5


def test_stages_are_timed_apart_from_the_whole(metrics: DispatcherMetrics, value: Value) -> None:
    metrics.ended(Ended("red", "succeeded", 12.0, stages={"preparing": 1.0, "total": 12.0}))
    assert value("cn_stage_seconds_sum", stage="preparing") == 1
    assert value("cn_stage_seconds_sum", stage="total") is None


def test_only_success_is_timed(metrics: DispatcherMetrics, value: Value) -> None:
    metrics.ended(Ended("red", "failed", 12.0, set_aside=True))
    assert value("cn_jobs_total", tenant="red", outcome="failed") == 1
    assert value("cn_job_seconds_count", tenant="red") is None


@pytest.mark.parametrize("set_aside", [True, False])
def test_a_job_given_up_is_counted_apart(metrics: DispatcherMetrics, value: Value, set_aside: bool) -> None:
    metrics.ended(Ended("red", "failed", 1.0, set_aside))
    assert value("cn_jobs_set_aside_total") == set_aside


def test_a_retry_is_counted_by_its_reason(metrics: DispatcherMetrics, value: Value) -> None:
    metrics.put_back(PutBack("red", "lease"))
    assert value("cn_job_retries_total", reason="lease") == 1


def test_the_queue_is_shown_by_tenant(metrics: DispatcherMetrics, value: Value) -> None:
    metrics.census(census(red=3, blue=1))
    assert (value("cn_queue_jobs", tenant="red"), value("cn_queue_gflop", tenant="blue")) == (3, 2)
    assert (value("cn_queue_oldest_seconds"), value("cn_running_jobs"), value("cn_leases_overdue")) == (7, 2, 1)


def test_a_queue_that_was_emptied_is_shown_empty(metrics: DispatcherMetrics, value: Value) -> None:
    metrics.census(census(red=3))
    metrics.census(census())
    assert value("cn_queue_jobs", tenant="red") == 0


def test_tenants_beyond_the_bound_wait_together(metrics: DispatcherMetrics, value: Value) -> None:
    metrics.census(census(**{f"team{i:04}": 1 for i in range(60)}))
    assert value("cn_queue_jobs", tenant="other") == 10


def test_one_version_is_served_at_a_time(metrics: DispatcherMetrics, value: Value) -> None:
    metrics.serving("demo", "1")
    metrics.serving("demo", "2")
    assert value("cn_model_served", model="demo", version="1") == 0
    assert value("cn_model_served", model="demo", version="2") == 1


def test_a_fault_of_the_registry_is_shown_by_its_stage(metrics: DispatcherMetrics, value: Value) -> None:
    metrics.fault("fetch", ("fetch", "prepare"))
    assert (value("cn_registry_fault", stage="fetch"), value("cn_registry_fault", stage="prepare")) == (1, 0)


def test_signals_that_are_cut_off_are_shown(metrics: DispatcherMetrics, value: Value) -> None:
    metrics.cut_off(12.5)
    assert value("cn_signals_cut_off_seconds") == 12.5


def test_no_key_that_expires_is_zero(metrics: DispatcherMetrics, value: Value) -> None:
    metrics.key_expiry(None)
    assert value("cn_key_expiry_timestamp") == 0


def test_the_ends_of_a_tenant_begin_at_nothing(metrics: DispatcherMetrics, value: Value) -> None:
    """So that the first failure is a change, which a rate sees."""
    metrics.claimed(lease("red"), 5.0)
    assert value("cn_jobs_total", tenant="red", outcome="failed") == 0


def test_only_a_first_start_ends_a_wait(metrics: DispatcherMetrics, value: Value) -> None:
    metrics.claimed(lease("red"), 5.0)
    metrics.claimed(lease("red", attempt=2), 9.0)
    assert value("cn_queue_seconds_sum", tenant="red") == 4
