from __future__ import annotations

from typing import Any

import pytest

from serve.client import Job
from serve.errors import JobCancelled, JobFailed, UnsupportedMedia
from tests.serve.client.conftest import DONE, JOB


def job(**changes: Any) -> Job:
    return Job.model_validate(JOB | changes)


def test_what_a_newer_api_adds_is_let_by() -> None:
    assert job(colour="red") == job()


@pytest.mark.parametrize(
    ("state", "terminal"),
    [("queued", False), ("running", False), ("succeeded", True), ("failed", True), ("cancelled", True)],
)
def test_a_job_that_ended_is_terminal(state: str, terminal: bool) -> None:
    assert job(state=state).terminal == terminal


@pytest.mark.parametrize("state", ["queued", "running", "succeeded"])
def test_a_job_that_did_not_fail_has_no_failure(state: str) -> None:
    assert job(state=state).failure is None


def test_a_failure_is_the_problem_that_ended_the_job() -> None:
    failure = job(state="failed", error={"type": "unsupported-media", "detail": "no picture"}).failure
    assert type(failure) is UnsupportedMedia
    assert (str(failure), failure.job) == ("no picture", "job_1")


def test_a_failure_without_a_problem_is_one() -> None:
    assert type(job(state="failed").failure) is JobFailed


def test_a_cancelled_job_has_a_failure_of_its_own() -> None:
    assert type(job(state="cancelled").failure) is JobCancelled


def test_all_of_a_job_is_read() -> None:
    made = Job.model_validate(
        DONE
        | {
            "progress": {"steps": [10, 4], "of": 10},
            "images": [{"index": 0, "seed": 7, "width": 8, "height": 8, "url": "/v1/jobs/job_1/images/0"}],
            "control_maps": [{"index": 0, "type": "canny", "id": "map_ab", "url": "/v1/jobs/job_1/controls/0"}],
        }
    )
    assert made.progress is not None
    assert (made.progress.steps, made.images[0].seed, made.control_maps[0].id) == ((10, 4), 7, "map_ab")
