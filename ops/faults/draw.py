"""Which blows fall on a campaign, and when: drawn by a seed, blind to what the platform is doing.

Ten campaigns of consecutive seeds strike each kind three times at least, and each pair of severe kinds at once.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

ROUND = 10
"""Campaigns that have everything."""

TIMES = 3
"""Of each kind, in a round."""

NEAR_S, FAR_S = (0.0, 4.0), (8.0, 28.0)
"""Seconds between two blows: so that some fall while the platform recovers from the last, some when it has."""

NEAR = 0.25
"""Share of the former."""

ORDER_SEED = 18  # of the order of kinds, which all campaigns share


@dataclass(frozen=True, slots=True)
class Planned:
    """A blow to come.

    Attributes:
        at_s: Seconds from the campaign's first.
    """

    at_s: float
    kind: str


def draw(seed: int, kinds: Sequence[str], severe: Sequence[str], blows: int, calm_s: float = 0.0) -> list[Planned]:
    """The blows of one campaign, in the order of their times.

    Args:
        seed: Of the campaign.
        kinds: All that there are.
        severe: Of these, whose pairs are struck at once.
        blows: At least so many; more where a round would not have everything otherwise.
        calm_s: More between two that are not struck at once.
    """
    luck = random.Random(seed)
    pairs = list(combinations(severe, 2))
    together = pairs[seed % len(pairs)] if pairs else ()
    singles = _share(seed, kinds)
    singles += luck.choices(kinds, k=max(0, blows - len(singles) - len(together)))
    luck.shuffle(singles)
    groups: list[tuple[str, ...]] = [(kind,) for kind in singles]
    if together:
        groups.insert(luck.randint(0, len(groups)), together)
    planned: list[Planned] = []
    at_s = 0.0
    for group in groups:
        planned += [Planned(at_s, kind) for kind in group]
        at_s += calm_s + luck.uniform(*(NEAR_S if luck.random() < NEAR else FAR_S))
    return planned


def _share(seed: int, kinds: Sequence[str]) -> list[str]:
    """This campaign's part of a round: consecutive campaigns go on where the last one ended."""
    order = random.Random(ORDER_SEED).sample(list(kinds), len(kinds))
    each = -(-TIMES * len(kinds) // ROUND)
    return [order[(seed * each + number) % len(order)] for number in range(each)]
