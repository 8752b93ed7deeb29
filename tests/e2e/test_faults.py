"""Nothing lost, nothing doubled: the short edition of `make faults`, on both databases."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.faults.faults import SHORT
from ops.faults.run import run

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900), pytest.mark.usefixtures("alone")]


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_every_accepted_job_ends_once_whatever_is_killed(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if database == "postgresql":
        request.getfixturevalue("postgres")  # skips where there is none
    kills = len(SHORT) + (database == "postgresql")
    campaign = run(tmp_path, database, jobs=60, kills=kills, faults=SHORT, say=print)
    assert campaign.audit.accepted == 60
    assert campaign.audit.done == 60
    assert campaign.audit.lost == []
    assert campaign.audit.doubled == []
    assert campaign.audit.unpaid == []
    assert len(campaign.outcomes) == kills
