"""What the platform can do, measured before it is loaded: how much at most, and how fast when nobody else asks."""

from __future__ import annotations

import random
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path

from ops.load.driver import Run, Watch, drive
from ops.load.plan import Outcome, Plan
from ops.load.trace import Mix, Request, Shape, synthesize
from ops.load.work import gflop, mean_gflop

WINDOW = 24
"""Requests under way in the closed backlog: more than a batch holds, so that seats never wait for a caller."""

WARM_SHARE = 0.25
"""Of the backlog's time, before its work is counted."""

FEWEST = 10
"""Requests that capacity is counted on."""

MOST_A_SECOND = 50
"""Requests that a closed backlog may come through."""


class NotCalibrated(RuntimeError):
    """The platform can't be measured: what it did instead."""


@dataclass(frozen=True, slots=True)
class Target:
    """A platform to send requests to.

    Attributes:
        url: Of the API.
        keys: File with a key a team.
        pictures: Folder of photographs.
    """

    url: str
    keys: Path
    pictures: Path


@dataclass(frozen=True, slots=True)
class Calibration:
    """What it can do.

    Attributes:
        gflop_s: Work a second, all seats taken, the mix of the trace.
        mean_gflop: Work of one request of the mix.
        solo_s: Seconds from sending to the images, of each shape, when nobody else asks; the median.
        backlog: Requests that the work was counted on.
    """

    gflop_s: float
    mean_gflop: float
    solo_s: Mapping[Shape, float]
    backlog: int

    @property
    def requests_s(self) -> float:
        """Requests of the mix a second: what a load of 1 is."""
        return self.gflop_s / self.mean_gflop


def calibrate(target: Target, mix: Mix, seconds: float, solos: int, folder: Path, watch: Watch) -> Calibration:
    """Measure every shape alone, then a closed backlog.

    Args:
        target: Nobody else uses it.
        mix: Of the trace.
        seconds: Of the backlog.
        solos: How often each shape is asked for.
        folder: For files.
        watch: Told of both runs' progress.

    Raises:
        NotCalibrated: Some request was not done.
    """
    alone = list(_alone(mix, solos))
    plan = Plan("solo", target.url, target.keys, target.pictures, alone, window=1)
    run = drive(plan, folder / "solo", watch)
    _check_done(run.outcomes)
    solo_s = _medians(alone, run)
    gflop_s, counted = capacity(target, mix, seconds, folder, watch)
    return Calibration(gflop_s, mean_gflop(mix), solo_s, counted)


def capacity(target: Target, mix: Mix, seconds: float, folder: Path, watch: Watch) -> tuple[float, int]:
    """Measure a closed backlog.

    Returns:
        GFLOP a second, and the requests that it was counted on.

    Raises:
        NotCalibrated: Some request was not done, or too few were in time.
    """
    steady = replace(mix, cancelled=0.0, hangs_up=0.0)
    many = list(synthesize(steady, repeat(0.0, int(seconds * MOST_A_SECOND)), seed=0))
    plan = Plan("backlog", target.url, target.keys, target.pictures, many, window=WINDOW, seconds=seconds)
    backlog = drive(plan, folder / "backlog", watch)
    ended = [one for one in backlog.outcomes if one.ended < seconds]
    _check_done(ended)
    counted = [one for one in ended if one.ended >= WARM_SHARE * seconds]
    if len(counted) < FEWEST:
        raise NotCalibrated(f"{len(counted)} requests were done in {seconds:.0f} s: give the backlog more time")
    work = sum(gflop(many[one.number].shape) for one in counted) / (seconds * (1 - WARM_SHARE))
    return work, len(counted)


def _alone(mix: Mix, solos: int) -> Sequence[Request]:
    """Every shape, so often, in an order of chance; the first requests are repeated at the end, when all is warm."""
    luck = random.Random(0)
    shapes = [shape for shape, _ in mix.shapes()]
    order = [shape for _ in range(solos) for shape in luck.sample(shapes, len(shapes))]
    order = order[:3] + order  # thrown away: the first of all finds nothing warm
    team, prompt = mix.teams[0].name, "a brass gear on a blue bench"
    return [Request(i, 0.0, team, "sync", shape, i % mix.pictures, prompt, i) for i, shape in enumerate(order)]


def _check_done(outcomes: Sequence[Outcome]) -> None:
    ends = [one for one in outcomes if one.end != "done"]
    if ends:
        raise NotCalibrated(f"{len(ends)} requests were not done; the first: {ends[0].end} {ends[0].reason}")


def _medians(alone: Sequence[Request], run: Run) -> Mapping[Shape, float]:
    times = defaultdict(list)
    for one in run.outcomes:
        if one.number >= 3 and not one.made_map:
            times[alone[one.number].shape].append(one.ended - one.sent)
    missing = {request.shape for request in alone} - times.keys()
    for one in run.outcomes:  # a map that had to be made first says more than nothing
        if alone[one.number].shape in missing:
            times[alone[one.number].shape].append(one.ended - one.sent)
    return {shape: statistics.median(seconds) for shape, seconds in times.items()}
