from __future__ import annotations

from typing import Any

import pytest

from serve.client import Job
from serve.client.job import Page
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


@pytest.mark.parametrize("member", ["state", "kind", "priority"])
def test_a_word_of_a_newer_api_is_kept(member: str) -> None:
    assert getattr(job(**{member: "from-the-future"}), member) == "from-the-future"


def test_a_job_of_a_newer_api_does_not_spoil_its_page() -> None:
    strange = JOB | {"state": "paused", "kind": "upscale", "priority": "urgent", "expired": False}
    page = Page.model_validate({"jobs": [JOB, strange], "next": None, "total": 2})
    assert [(item.state, item.kind) for item in page.jobs] == [("queued", "images"), ("paused", "upscale")]


@pytest.mark.parametrize(("finished_at", "terminal"), [(None, False), (1001.0, True)])
def test_an_unknown_state_is_an_end_if_the_job_has_finished(finished_at: float | None, terminal: bool) -> None:
    assert job(state="from-the-future", finished_at=finished_at).terminal == terminal


def test_a_known_state_is_no_end_whatever_else_is_said() -> None:
    assert not job(state="running", finished_at=1001.0).terminal


IMAGE = {"index": 0, "seed": 7, "width": 8, "height": 8, "url": "/v1/jobs/job_1/images/0"}


def test_an_unknown_end_with_an_error_is_a_failure() -> None:
    failure = job(state="refused", finished_at=1001.0, error={"type": "unsupported-media", "detail": "x"}).failure
    assert type(failure) is UnsupportedMedia


def test_an_unknown_end_without_all_images_is_a_failure() -> None:
    failure = job(state="partial", finished_at=1001.0, images=[IMAGE]).failure
    assert type(failure) is JobFailed
    assert (str(failure), failure.job) == ("The job ended as 'partial', which this client does not know.", "job_1")


def test_an_unknown_end_with_all_images_is_none() -> None:
    assert job(state="improved", finished_at=1001.0, images=[IMAGE, IMAGE | {"index": 1}]).failure is None


def test_an_unknown_state_that_goes_on_is_no_failure() -> None:
    assert job(state="paused").failure is None


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
