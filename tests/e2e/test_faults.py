"""Nothing lost, nothing doubled: the short edition of `make faults`, on both databases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from ops.faults.faults import DATABASE, SHORT, Fault
from ops.faults.run import Database, run

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900), pytest.mark.usefixtures("alone")]


SHORT_ON: Mapping[Database, Sequence[Fault]] = {
    "sqlite": SHORT,
    "postgresql": [fault for fault in SHORT if fault.kind in ("dispatcher", "tree")],
}
"""On the second database only what comes between it and who writes to it, and `DATABASE`, its own end."""


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_every_accepted_job_ends_once_whatever_is_killed(
    database: Database, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if database == "postgresql":
        request.getfixturevalue("postgres")  # skips where there is none
    faults = SHORT_ON[database]
    struck = [*faults, DATABASE] if database == "postgresql" else [*faults]
    jobs, kills = 10 * len(struck), len(struck)
    campaign = run(tmp_path, database, jobs, kills, faults, say=print)
    assert [outcome.fault for outcome in campaign.outcomes] == struck
    assert campaign.audit.accepted == jobs
    assert campaign.audit.done == jobs
    assert campaign.audit.lost == []
    assert campaign.audit.doubled == []
    assert campaign.audit.unpaid == []
