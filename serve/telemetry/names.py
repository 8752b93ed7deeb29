"""Every metric of the platform, by name: what it counts, in which unit, with which labels.

A name is `cn_<noun>_<unit>`, and `_total` after what only grows. A label has few values whatever is asked of the
platform: prompt, key and job are never one, and of the tenants only the first `TENANTS` have their own name
(`labels.Tenants`). Dashboards and rules are made from these names, and a test holds them to it.

| where | who counts |
|---|---|
| api | the HTTP process, on `CN_METRICS_PORT` |
| dispatcher, imaging, sampler | Ray, which puts `ray_` before names, `ops/prometheus/prometheus.yml` takes it off |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]
Unit = Literal["", "seconds", "bytes", "GFLOP", "timestamp"]
"""What a value is counted in: things where it is empty, seconds of 1970 for a timestamp."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of `METRICS`. Buckets are upper bounds, for histograms only."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    unit: Unit = ""
    kind: Kind = "counter"


ANSWER = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
JOB = (0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
STEP = (0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.0, 2.0, 5.0, 15.0, 60.0)
LOAD = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0)
BYTES = tuple(float(1 << shift) for shift in range(14, 26))  # 16 KiB .. 32 MiB
SHARE = tuple(tenth / 10 for tenth in range(1, 11))

TO_IMAGE_S = 30.0
"""An image within so many seconds of its submission is in time: the objective that `ops/prometheus` watches."""


def _counter(name: str, help: str, *labels: str, unit: Unit = "") -> Metric:
    return Metric(name, help, labels, (), unit, "counter")


def _gauge(name: str, help: str, *labels: str, unit: Unit = "") -> Metric:
    return Metric(name, help, labels, (), unit, "gauge")


def _histogram(name: str, help: str, buckets: tuple[float, ...], *labels: str, unit: Unit = "seconds") -> Metric:
    return Metric(name, help, labels, buckets, unit, "histogram")


API = (
    _counter("cn_http_requests_total", "HTTP requests answered.", "method", "route", "status"),
    _histogram("cn_http_request_seconds", "Time from a request to the end of its answer.", ANSWER, "method", "route"),
    _gauge("cn_http_requests_in_flight", "HTTP requests that are being answered."),
    _histogram("cn_upload_bytes", "Size of request bodies with pictures.", BYTES, unit="bytes"),
    _counter("cn_jobs_submitted_total", "Jobs accepted.", "tenant"),
    _counter("cn_refusals_total", "Requests refused because a team may have no more just now.", "tenant", "reason"),
)

EVERYWHERE = (
    _counter(
        "cn_jobs_total", "Jobs that ended; failed and late are ours, refused is the request's.", "tenant", "outcome"
    ),
    _histogram("cn_job_seconds", "Time from a job's submission to its images.", JOB, "tenant"),
    _counter("cn_job_retries_total", "Attempts that ended without an end of their job.", "reason"),
    _counter("cn_jobs_set_aside_total", "Jobs given up after their last attempt."),
    _counter("cn_gpu_seconds_total", "Time that finished jobs spent in samplers.", "tenant", unit="seconds"),
    _counter("cn_gflop_total", "Work of finished jobs in 10^9 floating point operations.", "tenant", unit="GFLOP"),
    _counter("cn_images_made_total", "Images of finished jobs.", "tenant"),
    _counter("cn_store_errors_total", "Calls to the database that found it away."),
)
"""Counted by whoever commits the end of a job: a dispatcher mostly, the api where it cancels one that waits."""

DISPATCHER = (
    _histogram("cn_queue_seconds", "Time that a job waited for its first start.", JOB, "tenant"),
    _histogram("cn_first_step_seconds", "Time from a job's submission to its first denoising step.", JOB),
    _histogram("cn_stage_seconds", "Time of a finished job in one stage of its way.", JOB, "stage"),
    _counter("cn_leases_lost_total", "Jobs that this dispatcher lost to another while it worked on them."),
    _counter("cn_webhooks_total", "Attempts to tell a receiver of a job's end.", "outcome"),
    _gauge("cn_queue_jobs", "Jobs that wait.", "tenant"),
    _gauge("cn_queue_gflop", "Work that waits.", "tenant", unit="GFLOP"),
    _gauge("cn_queue_oldest_seconds", "How long the oldest job that waits has waited.", unit="seconds"),
    _gauge("cn_running_jobs", "Jobs that dispatchers hold."),
    _gauge("cn_leases_overdue", "Running jobs whose lease has run out and that nobody has taken over."),
    _gauge("cn_model_served", "1 for the version that new jobs get, 0 for those they got before.", "model", "version"),
    _gauge("cn_model_ready", "1 while samplers hold the served version loaded and warm."),
    _gauge(
        "cn_signals_cut_off_seconds",
        "For how long this dispatcher has not heard of changes in the database; 0 while it does.",
        unit="seconds",
    ),
    _gauge(
        "cn_registry_fault", "1 while the served version is not the registry's champion, by what is wrong.", "stage"
    ),
    _gauge("cn_key_expiry_timestamp", "When the next long-lived API key expires; 0 where none does.", unit="timestamp"),
)

IMAGING = (
    _histogram("cn_picture_seconds", "Time to decode one uploaded picture.", STEP),
    _histogram("cn_annotate_seconds", "Time to make one control map.", STEP, "annotator"),
    _histogram("cn_png_seconds", "Time to encode one PNG.", STEP),
    _histogram("cn_artifact_seconds", "Time to read or write one artifact.", STEP, "operation"),
    _counter("cn_artifact_errors_total", "Reads and writes of artifacts that failed.", "operation"),
    _histogram(
        "cn_adherence_ratio",
        "Edge F1 at 1 px of an image's own Canny edges against its map; of some images.",
        SHARE,
        "version",
        unit="",
    ),
)

SAMPLER = (
    _histogram("cn_step_seconds", "Time of one batched denoising step.", STEP, "bucket"),
    _counter("cn_step_rows_total", "Rows that steps worked on: used by images, or padding.", "kind"),
    _counter("cn_images_total", "Images that left the engine.", "outcome"),
    _histogram("cn_seat_seconds", "Time from an image's arrival in the engine to its first step.", STEP),
    _histogram("cn_encode_seconds", "Time to encode the prompts and hints of images that join.", STEP),
    _histogram("cn_decode_seconds", "Time to decode finished latents to pictures.", STEP),
    _gauge("cn_engine_images", "Images in the engine, by what they do there.", "state"),
    _counter("cn_cache_total", "Times that a job found its bundle loaded (hit) or not (miss).", "outcome"),
    _counter("cn_model_loads_total", "Bundles loaded and warmed.", "outcome"),
    _histogram("cn_model_load_seconds", "Time to fetch, load and warm a bundle.", LOAD),
    _gauge(
        "cn_gpu_memory_bytes", "Memory of the sampler's GPU: used by tensors, reserved, total.", "kind", unit="bytes"
    ),
)

METRICS: Mapping[str, Metric] = {metric.name: metric for metric in (*API, *EVERYWHERE, *DISPATCHER, *IMAGING, *SAMPLER)}
