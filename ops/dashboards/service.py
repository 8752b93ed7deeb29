"""Is the service well? Rates, errors, durations, and what is left of the month's budget of errors."""

from __future__ import annotations

from ops.dashboards.board import Board, Row, panel, quantiles

_OURS = '{route!~"/healthz|/readyz"}'

SERVICE = Board(
    "service",
    "Service: is it well?",
    "Start here. What is asked, what fails, how long it takes, and where the time of a job goes.",
    (
        Row(
            "Objectives: 99.5 % of jobs done, 99.9 % of answers without an error of ours, 95 % of images within 30 s",
            (
                panel(
                    "Accepted jobs that failed or were late by our fault",
                    "Share of the jobs that ended. The objective is 0.5 % in a month; 7.2 % pages at once.",
                    "percentunit",
                    ("cn:jobs:bad_ratio_rate5m", "last 5 minutes"),
                    ("cn:jobs:bad_ratio_rate1h", "last hour"),
                    ("cn:jobs:bad_ratio_rate6h", "last 6 hours"),
                ),
                panel(
                    "Answers that were errors of ours",
                    "Share of answers with a status of 500 or more. The objective is 0.1 %.",
                    "percentunit",
                    ("cn:http:bad_ratio_rate5m", "last 5 minutes"),
                    ("cn:http:bad_ratio_rate1h", "last hour"),
                    ("cn:http:bad_ratio_rate6h", "last 6 hours"),
                ),
                panel(
                    "Images that took longer than 30 s",
                    "Share of the jobs that succeeded. The objective is 5 %.",
                    "percentunit",
                    ("cn:job_seconds:bad_ratio_rate5m", "last 5 minutes"),
                    ("cn:job_seconds:bad_ratio_rate1h", "last hour"),
                    ("cn:job_seconds:bad_ratio_rate6h", "last 6 hours"),
                ),
                panel(
                    "How fast the budgets of errors are used up",
                    "1 uses up a month's budget in a month; 14.4 in two days, which pages.",
                    "short",
                    ("cn:jobs:bad_ratio_rate1h / 0.005", "jobs"),
                    ("cn:http:bad_ratio_rate1h / 0.001", "answers"),
                    ("cn:job_seconds:bad_ratio_rate1h / 0.05", "time to image"),
                ),
            ),
        ),
        Row(
            "Where the time of a job goes: a slow job is slow in one of these",
            (
                panel(
                    "From submission to images",
                    "Of jobs that succeeded. The three panels that follow say where it went.",
                    "s",
                    *quantiles("cn_job_seconds"),
                ),
                panel(
                    "Waiting for a turn",
                    "From submission to the first start. High: more work than samplers. See Tenants for whose.",
                    "s",
                    *quantiles("cn_queue_seconds"),
                ),
                panel(
                    "From submission to the first step",
                    "What a person waits for before anything moves: the turn, the maps, a seat in the batch.",
                    "s",
                    *quantiles("cn_first_step_seconds"),
                ),
                panel(
                    "Preparing, sampling, publishing",
                    "Mean of each stage of finished jobs: pictures to maps; steps; pictures to files.",
                    "s",
                    (
                        "sum by (stage) (rate(cn_stage_seconds_sum[$__rate_interval]))"
                        " / sum by (stage) (rate(cn_stage_seconds_count[$__rate_interval]))",
                        "{{stage}}",
                    ),
                ),
            ),
        ),
        Row(
            "Requests",
            (
                panel(
                    "Requests by route",
                    "Answers a second, health checks aside.",
                    "reqps",
                    (f"sum by (route) (rate(cn_http_requests_total{_OURS}[$__rate_interval]))", "{{route}}"),
                ),
                panel(
                    "Answers by status",
                    "4xx is the caller's, 5xx ours; 499 left before there was an answer.",
                    "reqps",
                    (f"sum by (status) (rate(cn_http_requests_total{_OURS}[$__rate_interval]))", "{{status}}"),
                ),
                panel(
                    "Time to answer",
                    "`POST /v1/images` waits for its images, so it is as long as a job.",
                    "s",
                    *quantiles("cn_http_request_seconds", "route", _OURS),
                ),
                panel(
                    "Requests being answered",
                    "At 512 an API tells the next one to come back (503).",
                    "short",
                    ("sum(cn_http_requests_in_flight)", "in flight"),
                ),
            ),
        ),
        Row(
            "Jobs",
            (
                panel(
                    "Jobs by how they ended",
                    "refused: their own fault. failed and late: ours.",
                    "ops",
                    ("sum by (outcome) (rate(cn_jobs_total[$__rate_interval]))", "{{outcome}}"),
                ),
                panel(
                    "Attempts that were not the last",
                    "failure: a replica or a store broke. lease: a dispatcher was gone.",
                    "ops",
                    ("sum by (reason) (rate(cn_job_retries_total[$__rate_interval]))", "{{reason}}"),
                ),
                panel(
                    "The oldest job that waits",
                    "Above two minutes pages.",
                    "s",
                    ("max(cn_queue_oldest_seconds)", "oldest"),
                ),
                panel(
                    "Jobs that wait and that run",
                    "running: held by dispatchers, in imaging or in a sampler.",
                    "short",
                    ("sum(max by (tenant) (cn_queue_jobs))", "waiting"),
                    ("max(cn_running_jobs)", "running"),
                ),
                panel(
                    "Given up, lost, overdue",
                    "Jobs after their last attempt; leases that a dispatcher lost; leases that nobody has taken over.",
                    "short",
                    ("sum(increase(cn_jobs_set_aside_total[$__rate_interval]))", "given up"),
                    ("sum(increase(cn_leases_lost_total[$__rate_interval]))", "leases lost"),
                    ("max(cn_leases_overdue)", "leases overdue"),
                ),
                panel(
                    "Calls that found the database away",
                    "By who made them. Above 0 pages.",
                    "ops",
                    ("sum by (job) (rate(cn_store_errors_total[$__rate_interval]))", "{{job}}"),
                ),
                panel(
                    "The database's signals are cut off",
                    "For how long a dispatcher has not heard of changes: it looks every second instead.",
                    "s",
                    ("max(cn_signals_cut_off_seconds)", "cut off"),
                ),
                panel(
                    "Attempts to tell webhooks",
                    "failed is the receiver's: it is tried again.",
                    "ops",
                    ("sum by (outcome) (rate(cn_webhooks_total[$__rate_interval]))", "{{outcome}}"),
                ),
            ),
        ),
    ),
)
