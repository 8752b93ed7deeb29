from __future__ import annotations

from serve.jobs.census import Census
from serve.jobs.fairness import Backlog
from serve.jobs.overview import Overview, Serving
from serve.jobs.rollouts import Rollout
from serve.views.status import Line, Oldest, RolloutAnswer, ServedVersion, answer

FAILED = Rollout("demo", "failed", "4", "3", "prepare", "It does not run.")


def overview(census: Census) -> Overview:
    serving = (Serving("demo", "3", "sha256:ab", 7.0),)
    return Overview(serving, (FAILED,), 2, census, 4, 9, 80.0, {"job-failed": 2})


def test_teams_that_have_most_waiting_come_first() -> None:
    queued = {"red": Backlog(jobs=1, gflop=3.0), "blue": Backlog(jobs=5, gflop=9.0)}
    found = answer(overview(Census(queued, {"red": 2, "green": 1}, "job_1", 75.0, 0)), ready=True)
    assert found.queue == [
        Line(tenant="blue", waiting=5, running=0, gflop=9.0),
        Line(tenant="red", waiting=1, running=2, gflop=3.0),
        Line(tenant="green", waiting=0, running=1, gflop=0.0),
    ]


def test_what_is_served_and_what_waited_longest_are_told() -> None:
    found = answer(overview(Census({}, {}, "job_1", 75.0, 1)), ready=True)
    assert found.serving == [ServedVersion(model="demo", version="3", digest="sha256:ab", since=7.0)]
    (rollout,) = found.rollouts
    assert rollout == RolloutAnswer(
        model="demo", state="failed", wanted="4", serving="3", fault="prepare", reason="It does not run."
    )
    assert found.oldest == Oldest(job="job_1", waited_s=75.0)
    assert (found.overdue, found.failed) == (1, {"job-failed": 2})


def test_where_nothing_waits_none_is_the_oldest() -> None:
    assert answer(overview(Census({}, {}, None, 0.0, 0)), ready=False).oldest is None
