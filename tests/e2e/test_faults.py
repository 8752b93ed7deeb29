"""Every promise is kept whatever is struck: the short edition of `make faults`, on both databases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from ops.faults.blows import Database
from ops.faults.draw import Planned
from ops.faults.run import run

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(900),
    pytest.mark.usefixtures("alone"),
    pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning"),  # of MLflow
]

SHORT: Mapping[Database, Sequence[Planned]] = {
    "sqlite": [
        Planned(2.0, "kill sampler"),
        Planned(14.0, "kill dispatcher"),
        Planned(16.0, "kill imaging"),
        Planned(18.0, "kill api"),
        Planned(40.0, "power cut"),
    ],
    "postgresql": [
        Planned(2.0, "answers to COMMIT cut"),
        Planned(4.0, "database failover"),
        Planned(4.0, "stop dispatcher"),
        Planned(20.0, "kill all"),
    ],
}
"""On the second database only what comes between it and who writes to it."""


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_every_promise_is_kept_whatever_is_struck(
    database: Database, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if database == "postgresql":
        request.getfixturevalue("postgres")  # skips where there is none
    struck = SHORT[database]
    campaign = run(
        tmp_path,
        database,
        seed=1,
        plan=lambda kinds: [blow for blow in struck if blow.kind in kinds],
        disk=database == "sqlite",
        say=print,
    )
    assert campaign.breaches == []
    assert campaign.refused == []
    assert [outcome.failed or outcome.missed for outcome in campaign.outcomes] == [""] * len(campaign.outcomes)
    assert campaign.ends["succeeded"] > 20
