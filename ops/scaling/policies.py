"""How many replicas: the decision that ships, Ray's own, and a fixed number, each with Serve's delays around it."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Protocol

from ray.serve.autoscaling_policy import _apply_delay_logic
from ray.serve.config import AutoscalingConfig

from serve.deployments.scaling import Work, samplers
from serve.jobs.pace import Pace


@dataclass(frozen=True, slots=True)
class View:
    """What a policy sees of a moment.

    Attributes:
        now: Seconds.
        running: Replicas that serve.
        target: Replicas that were asked for last.
        work: What waits and runs.
    """

    now: float
    running: int
    target: int
    work: Work


class Policy(Protocol):
    """Asked once a second."""

    def __call__(self, view: View) -> int:
        """Replicas from now on."""


@dataclass
class Delayed:
    """Serve's way from what is wanted to what is asked for: its own code, with this clock.

    Args:
        most: Replicas.
        up: Seconds that more must be wanted for.
        down: Seconds that fewer must be, the last one included.
    """

    most: int
    up: float
    down: float
    _state: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._config = AutoscalingConfig(
            min_replicas=0, max_replicas=self.most, upscale_delay_s=self.up, downscale_delay_s=self.down
        )

    def decide(self, wanted: int, view: View) -> int:
        """Bounded, and not too soon. From no replica at all there is no delay."""
        if view.running == 0 and wanted > 0:
            return min(wanted, self.most)
        decided, self._state = _apply_delay_logic(wanted, view.target, self._config, self._state, _now=view.now)
        return min(int(decided), self.most)


@dataclass
class ByWork:
    """The decision that ships (`serve.deployments.scaling`).

    Args:
        pace: Of one sampler.
        clear_within: Seconds; `CN_CLEAR_WITHIN`.
        delayed: Around it.
    """

    pace: Pace
    clear_within: float
    delayed: Delayed

    def __call__(self, view: View) -> int:
        """Replicas from now on."""
        return self.delayed.decide(samplers(view.work, self.pace, self.pace.rows, self.clear_within), view)


PUSH_EVERY_S, LOOK_BACK_S = 10.0, 30.0
"""Ray's defaults: how often requests are counted at the controller, and over how long."""


@dataclass
class ByRequests:
    """Ray's `replica_queue_length_autoscaling_policy`: the mean of ongoing requests over what each replica is to have.

    It is told of all jobs, of those that wait in the store too: as if each were a request in line at a handle.

    Args:
        each: `target_ongoing_requests`.
        delayed: Around it.
    """

    each: float
    delayed: Delayed
    _seen: deque[int] = field(default_factory=lambda: deque(maxlen=int(LOOK_BACK_S)))
    _pushed_at: float = -math.inf
    _mean: float = 0.0

    def __call__(self, view: View) -> int:
        """Replicas from now on."""
        self._seen.append(view.work.waiting + view.work.running)
        if view.now - self._pushed_at >= PUSH_EVERY_S:
            self._pushed_at, self._mean = view.now, sum(self._seen) / len(self._seen)
        if view.running == 0:  # its way out of zero: one, or what was asked for before
            wanted = max(1, view.target) if self._mean > 0 else view.target
        else:
            wanted = math.ceil(self._mean / self.each)
        return self.delayed.decide(wanted, view)


@dataclass(frozen=True)
class Always:
    """As many as ever."""

    number: int

    def __call__(self, view: View) -> int:
        """Replicas from now on."""
        return self.number
