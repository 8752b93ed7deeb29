"""Arrivals of the fairness measurement on the running platform."""

from __future__ import annotations

import random

from ops.fairness.service import LEAST_SENT, _sent


class Slow:
    """A platform of which only what was sent is looked at."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def send(self, tenant: str) -> str:
        self.sent.append(tenant)
        return str(len(self.sent))


def test_some_are_sent_where_none_is_due_in_time() -> None:
    """On a machine so slow that the first is due after the end, there is still something to compare."""
    teams = Slow()
    ids = _sent(teams, "light", rate=1000.0, seconds=0.0, luck=random.Random(7))  # type: ignore[arg-type]
    assert len(ids) == LEAST_SENT
    assert teams.sent == ["light"] * LEAST_SENT
