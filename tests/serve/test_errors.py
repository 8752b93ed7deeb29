from __future__ import annotations

import pickle

import pytest

from serve.errors import InvalidRequest, JobCancelled, JobFailed, Overloaded, ServeError


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequest("must be at most 100", field="steps"),
        Overloaded("later", retry_after_s=2.5),
        JobCancelled("gone"),
    ],
)
def test_an_error_survives_a_row_and_a_process_border(error: ServeError) -> None:
    for again in (ServeError.from_problem(error.problem()), pickle.loads(pickle.dumps(error))):
        assert type(again) is type(error)
        assert again.problem() == error.problem()


def test_a_problem_of_another_version_of_us_is_a_failed_job() -> None:
    again = ServeError.from_problem({"type": "from-the-future", "detail": "x"})
    assert type(again) is JobFailed
    assert again.detail == "x"
