from __future__ import annotations

from collections import Counter
from itertools import combinations, pairwise

import pytest

from ops.faults.draw import ROUND, TIMES, draw

KINDS = [f"kind {number}" for number in range(31)]
SEVERE = KINDS[3:8]


def test_a_seed_is_a_campaign() -> None:
    assert draw(7, KINDS, SEVERE, 16) == draw(7, KINDS, SEVERE, 16)
    assert draw(7, KINDS, SEVERE, 16) != draw(8, KINDS, SEVERE, 16)


@pytest.mark.parametrize("first", [0, 3, 1_000_003])
@pytest.mark.parametrize("count", [12, 27, 31])
def test_a_round_has_each_kind_and_each_pair(first: int, count: int) -> None:
    kinds, severe = KINDS[:count], SEVERE
    campaigns = [draw(seed, kinds, severe, 12) for seed in range(first, first + ROUND)]
    struck = Counter(blow.kind for campaign in campaigns for blow in campaign)
    assert min(struck[kind] for kind in kinds) >= TIMES
    at_once = {
        frozenset((one.kind, other.kind))
        for campaign in campaigns
        for one, other in combinations(campaign, 2)
        if one.at_s == other.at_s and one.kind != other.kind
    }
    assert at_once >= {frozenset(pair) for pair in combinations(severe, 2)}


def test_there_are_as_many_as_are_asked_for_and_some_fall_on_a_recovery() -> None:
    campaign = draw(3, KINDS, SEVERE, 200)
    assert len(campaign) == 200
    gaps = [later.at_s - earlier.at_s for earlier, later in pairwise(campaign)]
    assert min(gaps) == 0.0
    assert sum(gap < 5.0 for gap in gaps) > 20
    assert sum(gap > 8.0 for gap in gaps) > 100
