"""Replicas that start cold, and a dispatcher that hands out what comes in its order, second by second.

A replica's batch steps at its pace, `a + b B`: between two ends of jobs time is divided exactly, and only decisions and
hand-outs are made by the second. A replica that is to go takes no new job and ends those it has.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from ops.scaling.policies import Policy, View
from ops.scaling.trace import Arrival
from serve.config import lookahead
from serve.deployments.scaling import Work
from serve.jobs.pace import Pace

PACE = Pace(fixed=0.03, per_gflop=0.01, gflop=8.0, rows=16)
"""The shape of a GPU's step (three quarters of one image's are fixed, `ops/bench`), at 40 ms for one image."""

COLD_S = 90.0
"""From asking for a replica until it serves: a worker on a node that is there, weights, warming. Assumed."""

TICK_S = 1.0
AHEAD = lookahead(PACE.rows)


def allowed_s(arrival: Arrival) -> float:
    """In time is: two minutes, and three times what it takes alone."""
    return 120.0 + 3 * arrival.kind.steps * PACE.step_s(arrival.kind.step_gflop)


@dataclass(slots=True)
class Seated:
    """A job in a replica, and the steps it has left."""

    arrival: Arrival
    left: float


@dataclass(slots=True)
class Replica:
    """One sampler.

    Attributes:
        asked_at: When it began to cost.
        ready_at: When it serves.
        leaving: It takes no more jobs.
    """

    asked_at: float
    ready_at: float
    leaving: bool = False
    seated: list[Seated] = field(default_factory=list)
    line: deque[Arrival] = field(default_factory=deque)
    rows: int = 0
    claimed: int = 0

    def take(self, arrival: Arrival) -> None:
        """Give it a job."""
        self.line.append(arrival)
        self.claimed += arrival.kind.rows

    def run(self, start: float, seconds: float) -> list[tuple[Arrival, float]]:
        """Step; the jobs that ended, and when."""
        ended: list[tuple[Arrival, float]] = []
        now = start
        while True:
            while self.line and self.rows + self.line[0].kind.rows <= PACE.rows:
                arrival = self.line.popleft()
                self.rows += arrival.kind.rows
                self.seated.append(Seated(arrival, arrival.kind.steps))
            left = start + seconds - now
            if not self.seated or left <= 1e-9:
                return ended
            step_s = PACE.step_s(sum(seat.arrival.kind.step_gflop for seat in self.seated))
            span = min(left, step_s * min(seat.left for seat in self.seated))
            now += span
            for seat in self.seated:
                seat.left -= span / step_s
            for seat in [seat for seat in self.seated if seat.left <= 1e-9]:
                self.seated.remove(seat)
                self.rows -= seat.arrival.kind.rows
                self.claimed -= seat.arrival.kind.rows
                ended.append((seat.arrival, now))


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of a trace under a policy.

    Attributes:
        gpu_hours: From asking for each replica to its end.
        latencies: Seconds of each job, from its coming to its end.
        met: Jobs that were in time.
        starts: Replicas that were asked for.
    """

    gpu_hours: float
    latencies: Sequence[float]
    met: int
    starts: int

    @property
    def attainment(self) -> float:
        """Share of jobs that were in time."""
        return self.met / len(self.latencies)

    def latency(self, share: float) -> float:
        """Seconds that `share` of the jobs took at most."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


def simulate(arrivals: Sequence[Arrival], policy: Policy, cold_s: float = COLD_S) -> Outcome:
    """Serve a trace to its end."""
    coming, waiting = deque(arrivals), deque[Arrival]()
    replicas: list[Replica] = []
    target, now, cost_s, starts = 0, 0.0, 0.0, 0
    latencies: list[float] = []
    met = 0
    while coming or waiting or (replicas and any(replica.claimed for replica in replicas)):
        while coming and coming[0].at <= now:
            waiting.append(coming.popleft())
        ready = [replica for replica in replicas if replica.ready_at <= now and not replica.leaving]
        _hand_out(waiting, ready)
        target = policy(View(now, len(ready), target, _work(waiting, replicas)))
        starts += _resize(replicas, target, now, cold_s)
        for replica in replicas:
            if replica.ready_at <= now:
                for arrival, end in replica.run(now, TICK_S):
                    latencies.append(end - arrival.at)
                    met += latencies[-1] <= allowed_s(arrival)
        now += TICK_S
        gone = [replica for replica in replicas if replica.leaving and not replica.claimed]
        cost_s += sum(now - replica.asked_at for replica in gone)
        replicas = [replica for replica in replicas if not (replica.leaving and not replica.claimed)]
    cost_s += sum(now - replica.asked_at for replica in replicas)
    return Outcome(cost_s / 3600, latencies, met, starts)


def _hand_out(waiting: deque[Arrival], ready: Sequence[Replica]) -> None:
    """In the order of coming, each to the replica with the least, while there is room."""
    while waiting and ready:
        least = min(ready, key=lambda replica: replica.claimed)
        if least.claimed >= PACE.rows + AHEAD:
            return
        least.take(waiting.popleft())


def _work(waiting: Sequence[Arrival], replicas: Sequence[Replica]) -> Work:
    held = [arrival for replica in replicas for arrival in replica.line]
    held += [seat.arrival for replica in replicas for seat in replica.seated]
    return Work(
        waiting=len(waiting),
        waiting_gflop=sum(arrival.kind.gflop for arrival in waiting),
        running=len(held),
        running_gflop=sum(arrival.kind.gflop for arrival in held),
        running_rows=sum(arrival.kind.rows for arrival in held),
    )


def _resize(replicas: list[Replica], target: int, now: float, cold_s: float) -> int:
    """Ask for what lacks; let go what is too much: those that don't serve yet first, then the newest, as Serve does."""
    staying = [replica for replica in replicas if not replica.leaving]
    for _ in range(target - len(staying)):
        replicas.append(Replica(now, now + cold_s))
    order = sorted(staying, key=lambda replica: (replica.ready_at <= now, -replica.asked_at))
    for replica in order[: max(0, len(staying) - target)]:
        replica.leaving = True
    return max(0, target - len(staying))
