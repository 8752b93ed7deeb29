"""How many samplers there should be. Pure: what comes and what waits is given. Both levels ask the same code."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import yaml
from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass as checked


@checked(frozen=True, config={"extra": "forbid"})
class Policy:
    """What an operator decides.

    Attributes:
        fewest: Samplers that are always there.
        most: That there are ever.
        rule: `work` counts GFLOP that come and wait, `jobs` counts jobs that have not ended.
        target: For `work` the share of a sampler's rate that is planned with; for `jobs` how many each should have.
        drain_s: Seconds in which `work` wants what waits to be gone.
        every_s: Seconds between decisions.
        window_s: Seconds over which what comes is averaged.
        down_after_s: Seconds for which fewer must have been enough.
        spot_share: Of all samplers beyond the fewest, 0 .. 1; the fewest are never spot machines.
        slo_s: Seconds in which a job should be done.
    """

    fewest: int = 1
    most: int = 1
    rule: Literal["work", "jobs"] = "work"
    target: float = 0.7
    drain_s: float = 120.0
    every_s: float = 10.0
    window_s: float = 60.0
    down_after_s: float = 300.0
    spot_share: float = 0.0
    slo_s: float = 10.0

    def __post_init__(self) -> None:
        if not 0 <= self.fewest <= self.most or self.most < 1:
            raise ValueError(f"fewest is {self.fewest} and most {self.most}: choose 0 <= fewest <= most, most >= 1")
        if not 0 <= self.spot_share <= 1:
            raise ValueError(f"spot_share is {self.spot_share}: choose 0 to 1")
        for name in ("target", "drain_s", "every_s", "window_s", "slo_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}: choose more than 0")

    def spot(self, samplers: int) -> int:
        """How many of them should be spot machines."""
        return min(round(self.spot_share * samplers), samplers - min(samplers, self.fewest))


def read_policy(path: Path) -> Policy:
    """A policy from a YAML file; what it does not name is as above."""
    return TypeAdapter(Policy).validate_python(yaml.safe_load(path.read_text()) or {})


@dataclass(frozen=True, slots=True)
class Load:
    """What a decision is made from.

    Attributes:
        arriving: GFLOP a second that came, over the window.
        waiting: GFLOP that no sampler was given yet.
        jobs: That have not ended.
        rate: GFLOP a second of one sampler in full batches.
    """

    arriving: float
    waiting: float
    jobs: float
    rate: float


@dataclass
class Scaler:
    """Decides again and again, and goes down slowly: never below what was wanted lately."""

    policy: Policy
    _wanted: deque[tuple[float, int]] = field(default_factory=deque)

    def decide(self, now: float, load: Load) -> int:
        """Samplers that there should be, those that are starting included."""
        policy = self.policy
        if policy.rule == "work":
            samplers = load.arriving / (policy.target * load.rate) + load.waiting / (policy.drain_s * load.rate)
        else:
            samplers = load.jobs / policy.target
        wanted = min(policy.most, max(policy.fewest, math.ceil(samplers - 1e-9)))
        while self._wanted and self._wanted[-1][1] <= wanted:
            self._wanted.pop()
        self._wanted.append((now, wanted))
        while self._wanted[0][0] < now - policy.down_after_s:
            self._wanted.popleft()
        return self._wanted[0][1]
