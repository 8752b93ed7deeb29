from __future__ import annotations

from serve.deployments.chores import SWEEPER_TTL
from serve.jobs.artifacts import DELETION_S
from serve.jobs.store import KEPT_SHARE


def test_the_sweepers_lock_outlasts_a_deletion_and_a_slow_look_before_it() -> None:
    slow_look = 20.0  # the most that a statement may take
    assert slow_look + DELETION_S < KEPT_SHARE * SWEEPER_TTL
