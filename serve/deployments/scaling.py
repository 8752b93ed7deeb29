"""How many replicas are wanted, by the work that is known and not by the number of requests.

One request costs a hundred times another. The dispatcher knows what waits in the store and what it has claimed, also
while there is no sampler at all. It decides (`samplers`), says so to Serve's controller once a second
(`record_autoscaling_stats`), and the application's policy (`replicas`) hands it on. Bounds and the wait before there
are fewer are Serve's own, by each deployment's `AutoscalingConfig`.

Ray copies this module into its controller by value: it imports the standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serve.jobs.pace import Pace

CALLS_EACH = 4
"""Calls that one imaging replica is to have under way: they wait for artifacts half of their time."""

SAMPLERS = "samplers"
"""What the dispatcher says of samplers: how many it wants."""

MAPS = "maps"
"""What it says of imaging: jobs that wait for nothing else."""


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be sampled.

    Attributes:
        waiting: Jobs that nobody has claimed.
        waiting_gflop: Their work.
        running: Jobs that were claimed and are not sampled yet.
        running_gflop: Their work, what is done of it included.
        running_rows: Seats they take.
    """

    waiting: int = 0
    waiting_gflop: float = 0.0
    running: int = 0
    running_gflop: float = 0.0
    running_rows: int = 0


def samplers(work: Work, pace: Pace | None, seats: int, clear_within: float) -> int:
    """How many samplers do the work in time.

    Of what runs, half is taken to be done. A job is one sampler's, so more samplers than jobs are of no use; and there
    are never fewer than what runs has seats on.

    Args:
        work: All there is.
        pace: Of one sampler; while none was ever measured, one is wanted, to measure it.
        seats: Of one sampler, in UNet rows.
        clear_within: Seconds.
    """
    jobs = work.waiting + work.running
    if not jobs:
        return 0
    seated = math.ceil(work.running_rows / seats)
    if pace is None:
        return max(1, seated)
    alone_s = (work.waiting_gflop + work.running_gflop / 2) / pace.rate
    return max(1, seated, min(jobs, math.ceil(alone_s / clear_within)))


def replicas(contexts: Mapping[Any, Any]) -> tuple[dict[Any, float], dict[Any, dict[str, Any]]]:
    """The application's policy, in Serve's controller: what the dispatcher wants, and what imaging is called for.

    A deployment that nothing is known of keeps what it has.

    Args:
        contexts: Serve's `AutoscalingContext` by `DeploymentID`.

    Returns:
        Replicas by deployment, and no state to keep.
    """
    told: dict[str, float] = {}
    for context in contexts.values():
        for name, by_replica in (context.raw_metrics or {}).items():
            for series in by_replica.values():
                if series:
                    told[name] = max(told.get(name, 0.0), series[-1].value)
    wanted: dict[Any, float] = {}
    for deployment, context in contexts.items():
        if deployment.name == "sampler" and SAMPLERS in told:
            wanted[deployment] = told[SAMPLERS]
        elif deployment.name == "imaging" and MAPS in told:
            wanted[deployment] = math.ceil((context.total_num_requests + told[MAPS]) / CALLS_EACH)
    return wanted, {}
