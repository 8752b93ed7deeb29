"""What arrivals came to: how many had their picture in time, of all that came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ops.bench.client import HUNG_UP, Outcome
from ops.bench.figure import percentile

OK, CLIENT_ERROR, TOO_LATE, SERVER_ERROR = 200, 400, 504, 500


@dataclass(frozen=True, slots=True)
class Score:
    """Of one server under one load.

    Attributes:
        offered: Requests that were due.
        in_time: Of them, those whose picture came within their limit.
        answered: Those whose picture came.
        refused: Those that the server would not take (4xx).
        given_up: Those that it took and told that they were late (504).
        hung_up: Those whose client went.
        failed: All others.
        p50: Seconds of the answered from when they were due; None where there are none.
        p99: Likewise.
    """

    offered: int
    in_time: int
    answered: int
    refused: int
    given_up: int
    hung_up: int
    failed: int
    p50: float | None
    p99: float | None

    @property
    def goodput(self) -> float:
        """In time, of offered."""
        return self.in_time / self.offered


def in_time(outcome: Outcome, limits: Mapping[str, float]) -> bool:
    """Whether its picture came within its limit."""
    return outcome.status == OK and outcome.seconds <= limits[outcome.request.name]


def score(outcomes: Sequence[Outcome], limits: Mapping[str, float]) -> Score:
    """Count.

    Args:
        outcomes: At least one.
        limits: Seconds that each image may take, by name.
    """
    answered = [one for one in outcomes if one.status == OK]
    seconds = [one.seconds for one in answered]
    refused = sum(CLIENT_ERROR <= one.status < SERVER_ERROR for one in outcomes)
    given_up = sum(one.status == TOO_LATE for one in outcomes)
    hung_up = sum(one.status == HUNG_UP for one in outcomes)
    return Score(
        offered=len(outcomes),
        in_time=sum(in_time(one, limits) for one in outcomes),
        answered=len(answered),
        refused=refused,
        given_up=given_up,
        hung_up=hung_up,
        failed=len(outcomes) - len(answered) - refused - given_up - hung_up,
        p50=percentile(seconds, 0.5) if seconds else None,
        p99=percentile(seconds, 0.99) if seconds else None,
    )
