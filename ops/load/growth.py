"""Whether something grows: what was sampled of it after the warm-up. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FLAT = 0.05
"""Growth over the run that still counts as none, of what there was."""

FEWEST = 12
"""Samples that a line needs."""

MOST = 400
"""Samples of which all pairs are looked at; of more, as many at equal distances."""

Points = Sequence[tuple[float, float]]
"""Seconds from the start, and a value."""


@dataclass(frozen=True, slots=True)
class Growth:
    """What became of one quantity of one thing.

    Attributes:
        of: The thing: a generation of a process, a table, a folder.
        what: The quantity, with its unit.
        samples: After the warm-up.
        seconds: That they span.
        start: Where the line begins.
        change: What was gained meanwhile.
        flat: Whether that is at most 5 %, or the slack; None where there is too little to say.
    """

    of: str
    what: str
    samples: int
    seconds: float
    start: float
    change: float
    flat: bool | None

    @property
    def share(self) -> float:
        """The change, of what there was."""
        return self.change / self.start if self.start else 0.0


def growth(of: str, what: str, points: Points, warm_s: float, judged_s: float, slack: float = 0.0) -> Growth:
    """Fit a line (Theil and Sen: the median of the slopes of all pairs, which a few wild samples don't move).

    Such a line does not see what grows only at the end, or in one step, so the last quarter is compared with the first,
    too, and the larger of the two changes counts.

    Args:
        of: The thing.
        what: The quantity.
        points: In the order of time.
        warm_s: Samples of so many seconds from the first are left out.
        judged_s: The rest must span so many, or there is no verdict.
        slack: Change that counts as none whatever its share: two handles of ten are no leak.
    """
    kept = [(at, value) for at, value in points if at >= points[0][0] + warm_s]
    if len(kept) < FEWEST:
        return Growth(of, what, len(kept), kept[-1][0] - kept[0][0] if kept else 0.0, 0.0, 0.0, None)
    times, values = (np.array(column) for column in zip(*kept, strict=True))
    slope = _slope(times, values)
    seconds = float(times[-1] - times[0])
    start = float(np.median(values - slope * (times - times[0])))
    quarter = max(1, len(values) // 4)
    change = max(slope * seconds, float(np.median(values[-quarter:]) - np.median(values[:quarter])))
    flat = change <= max(FLAT * start, slack)
    return Growth(of, what, len(kept), seconds, start, change, flat if seconds >= judged_s else None)


def _slope(times: np.ndarray, values: np.ndarray) -> float:
    if len(times) > MOST:
        chosen = np.linspace(0, len(times) - 1, MOST).round().astype(int)
        times, values = times[chosen], values[chosen]
    i, j = np.triu_indices(len(times), 1)
    apart = times[j] - times[i]
    return float(np.median((values[j] - values[i])[apart > 0] / apart[apart > 0]))
