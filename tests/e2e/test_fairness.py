"""The fair order on the whole platform; teams' jobs are rows in its store, since keys are another matter."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ops.fairness.service import Teams, crowd, light_tail, teams
from tests.e2e.conftest import Running

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

SEATS = 8  # jobs of two rows in a batch of sixteen


@pytest.fixture
def many(platform: Running) -> Iterator[Teams]:
    with teams(platform.rig.database_url) as found:
        yield found


def test_a_light_team_goes_before_an_aggressors_queue(many: Teams) -> None:
    """The order, not the seconds: what they come to is `python -m ops.fairness --service`'s to say."""
    figure = light_tail(many, SEATS, seconds=8)
    print(figure)
    assert figure.detail["aggressor's jobs waiting at the end"] > 0
    assert figure.detail["waiting jobs that went before a light one, at most"] < SEATS


def test_many_jobs_of_many_teams_are_all_accounted_for(many: Teams) -> None:
    assert crowd(many, tenants=8, each=25) == {"jobs": 200, "ended once": 200, "counted once": 200}
