"""Who uses how much, who waits, who is refused."""

from __future__ import annotations

from ops.dashboards.board import Board, Row, panel, quantiles

TENANTS = Board(
    "tenants",
    "Tenants and cost: who uses how much?",
    "By team; beyond the first fifty teams the rest is `other`. Exact numbers for a bill are at `GET /v1/usage`.",
    (
        Row(
            "Waiting",
            (
                panel("Jobs that wait", "Now, by team.", "short", ("max by (tenant) (cn_queue_jobs)", "{{tenant}}")),
                panel(
                    "Work that waits",
                    "In GFLOP: a few large jobs may be more work than many small ones.",
                    "short",
                    ("max by (tenant) (cn_queue_gflop)", "{{tenant}}"),
                ),
                panel(
                    "Time to a first start",
                    "By team. Teams with equal weights that ask for less than their share wait least.",
                    "s",
                    *quantiles("cn_queue_seconds", "tenant"),
                ),
                panel(
                    "From submission to images",
                    "By team.",
                    "s",
                    *quantiles("cn_job_seconds", "tenant"),
                ),
            ),
        ),
        Row(
            "Used",
            (
                panel(
                    "Seconds in samplers",
                    "Of finished jobs, a second. Jobs share batches, so the sum may exceed the samplers.",
                    "short",
                    ("sum by (tenant) (rate(cn_gpu_seconds_total[$__rate_interval]))", "{{tenant}}"),
                ),
                panel(
                    "Share of the work",
                    "Of the GFLOP that were done: what the fair order divides by the teams' weights.",
                    "percentunit",
                    (
                        "sum by (tenant) (rate(cn_gflop_total[$__rate_interval]))"
                        " / scalar(sum(rate(cn_gflop_total[$__rate_interval])))",
                        "{{tenant}}",
                    ),
                ),
                panel(
                    "Images made",
                    "Images a second.",
                    "ops",
                    ("sum by (tenant) (rate(cn_images_made_total[$__rate_interval]))", "{{tenant}}"),
                ),
                panel(
                    "Jobs accepted",
                    "Jobs a second.",
                    "ops",
                    ("sum by (tenant) (rate(cn_jobs_submitted_total[$__rate_interval]))", "{{tenant}}"),
                ),
            ),
        ),
        Row(
            "Refused and failed",
            (
                panel(
                    "Requests refused because a team may have no more",
                    "By team and reason: its quota, its rate, a deadline that could not be met.",
                    "ops",
                    (
                        "sum by (tenant, reason) (rate(cn_refusals_total[$__rate_interval]))",
                        "{{tenant}} {{reason}}",
                    ),
                ),
                panel(
                    "Jobs that did not succeed",
                    "By team and outcome.",
                    "ops",
                    (
                        'sum by (tenant, outcome) (rate(cn_jobs_total{outcome!="succeeded"}[$__rate_interval]))',
                        "{{tenant}} {{outcome}}",
                    ),
                ),
            ),
        ),
    ),
)
