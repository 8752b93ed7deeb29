"""Every step of every sampler: the engine's scheduler in each, the fair order before them, a clock that jumps.

What is simulated of the platform: one line in the fair order (`ops.fairness.lines`, that is `serve.jobs.fairness`);
claims of as many rows as samplers hold and an eighth more; Ray Serve's choice of the one of two samplers that has
fewer jobs; `serve.engine.scheduler` in each; steps, then decoding, in turns; samplers that are added cold, that drain,
and spot machines that vanish with what they were doing, which is run again. Not simulated: deadlines and refusals.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from controlnet.architecture import Architecture
from ops.capacity.mix import Mix, full_rate
from ops.capacity.outcome import Outcome, Waits
from ops.capacity.policy import Load, Policy, Scaler
from ops.capacity.prices import Gpu
from ops.capacity.trace import Demand, Request, price
from ops.fairness.lines import Offer, PlainLine
from ops.fairness.simulation import Clock
from serve.engine.core import Batch, Image, Key
from serve.engine.scheduler import Scheduler
from serve.jobs.pace import Pace

RETRY_S = 0.25
"""Before a lost attempt is tried again, as the dispatcher's first pause."""


@dataclass(eq=False)
class Node:
    """A sampler.

    Attributes:
        since: When it was asked for; paid from then on.
        jobs: Images that are left of each job it has.
        ready: Whether its model is loaded.
        draining: Whether it takes no more jobs.
        gone: When it was given back or taken away.
    """

    spot: bool
    since: float
    scheduler: Scheduler
    jobs: dict[int, int] = field(default_factory=dict)
    ready: bool = False
    stepping: bool = False
    draining: bool = False
    gone: float | None = None


class Exact:
    """Serve a trace to its end.

    Args:
        requests: By time.
        gpu: Of all samplers.
        policy: How many there are.
        architecture: Prices the requests.
        seed: Of routing and interruptions.
        weights: Of tenants; 1 where absent.
    """

    def __init__(
        self,
        requests: Sequence[Request],
        gpu: Gpu,
        policy: Policy,
        architecture: Architecture,
        seed: int = 0,
        weights: dict[str, float] | None = None,
    ) -> None:
        self.requests, self.gpu, self.policy = requests, gpu, policy
        self.costs = [price(one.shape, architecture) for one in requests]
        self.line = PlainLine(clock := Clock(0.0), Pace(0.0, 1.0, 1.0, gpu.max_rows), weights or {})
        self.clock = clock
        self.rate = full_rate(Mix(gpu, Demand.of(requests, policy.every_s).shares, architecture))
        self.nodes: list[Node] = []
        self.every: list[Node] = []
        self.ended: dict[int, float] = {}
        self.interrupted = 0
        self._luck = np.random.default_rng(seed)
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0
        self._scaler = Scaler(policy)
        self._came: deque[tuple[float, float]] = deque()
        self._queued: dict[int, float] = {}  # GFLOP that no sampler was given yet
        self._rows = 0  # claimed and not sampled
        self._counts: list[tuple[float, int, int]] = []

    def run(self) -> Outcome:
        """To the last job's end."""
        for number, one in enumerate(self.requests):
            self._at(one.at, self._arrive, number)
        for _ in range(self.policy.fewest):
            self._add(spot=False, cold=False)
        self._at(0.0, self._tick)
        while self._events and len(self.ended) < len(self.requests):
            self.clock.now, _, event, arguments = heapq.heappop(self._events)
            event(*arguments)
        return self._outcome()

    # Jobs.

    def _arrive(self, number: int) -> None:
        one, cost = self.requests[number], self.costs[number]
        self._came.append((one.at, cost.gflop))
        self._queued[number] = cost.gflop
        self.line.submit(number, Offer(one.at, one.tenant, cost))
        self._claim()

    def _claim(self) -> None:
        """Take what there is room for, in the fair order."""
        open_nodes = sum(node.ready and not node.draining for node in self.nodes)
        room = open_nodes * self.gpu.claimed_rows - self._rows
        if room <= 0 or not self._queued:
            return
        for number in self.line.claim(room):
            self._rows += self.costs[number].rows
            del self._queued[number]
            self._at(self.clock.now + self.gpu.table.before_s, self._enter, number)

    def _enter(self, number: int) -> None:
        """A job goes to one of two samplers, whichever has fewer."""
        choice = [node for node in self.nodes if node.ready and not node.draining]
        if not choice:
            self._put_back(number)
            return
        picked = self._luck.choice(len(choice), size=min(2, len(choice)), replace=False)
        node = min((choice[i] for i in picked), key=lambda one: len(one.jobs))
        shape, cost = self.requests[number].shape, self.costs[number]
        node.jobs[number] = shape.n
        key = Key(shape.height, shape.width, "sha256:00")
        for i in range(shape.n):
            gflop = cost.step_gflop / shape.n
            node.scheduler.add(Image(f"{number}/{i}", str(number), key, shape.rows, shape.steps, shape.controls, gflop))
        if not node.stepping:
            self._step(node)

    def _step(self, node: Node) -> None:
        batch = node.scheduler.schedule()
        node.stepping = batch is not None
        if batch is not None:
            self._at(self.clock.now + self.gpu.table.step_s(batch), self._stepped, node, batch)

    def _stepped(self, node: Node, batch: Batch) -> None:
        if node.gone is not None:
            return
        moves = node.scheduler.commit(batch, [None] * len(batch.images))
        done = [int(move.image.job) for move in moves if move.last]
        if not done:
            self._step(node)
            return
        around = self.gpu.table.size(batch.key.width, batch.key.height).image
        self._at(self.clock.now + around * len(done), self._decoded, node, done)

    def _decoded(self, node: Node, done: Sequence[int]) -> None:
        if node.gone is not None:
            return
        for number in done:
            node.jobs[number] -= 1
            if not node.jobs[number]:
                del node.jobs[number]
                self._rows -= self.costs[number].rows
                self.line.finish(number)
                self.ended[number] = self.clock.now + self.gpu.table.after_s
        if node.draining and not node.jobs:
            self._remove(node)
        self._claim()
        if node.gone is None:
            self._step(node)

    def _put_back(self, number: int) -> None:
        self._rows -= self.costs[number].rows
        self._queued[number] = self.costs[number].gflop
        self.line.put_back(number)

    # Samplers.

    def _tick(self) -> None:
        policy, now = self.policy, self.clock.now
        while self._came and self._came[0][0] < now - policy.window_s:
            self._came.popleft()
        arriving = sum(gflop for _, gflop in self._came) / policy.window_s
        jobs = len(self._queued) + len(self.line.running)
        target = self._scaler.decide(now, Load(arriving, sum(self._queued.values()), jobs, self.rate))
        kept = [node for node in self.nodes if not node.draining]
        spots = sum(node.spot for node in kept)
        self._shrink(kept, len(kept) - target, spots - policy.spot(target))
        new_spots = policy.spot(target) - spots
        for number in range(target - len(kept)):
            self._add(spot=number < new_spots)
        ready = sum(node.ready and not node.draining for node in self.nodes)
        self._counts.append((now, len(self.nodes), ready))
        self._at(now + policy.every_s, self._tick)

    def _shrink(self, kept: list[Node], fewer: int, spots: int) -> None:
        """Who is still starting goes first, then spot machines beyond their share, then those with least to finish."""
        kept.sort(key=lambda node: len(node.jobs))
        starting = [node for node in kept if not node.ready]
        extra = [node for node in kept if node.ready and node.spot][: max(0, spots)]
        steady = [node for node in kept if node.ready and not node.spot]
        for node in list(dict.fromkeys([*starting, *extra, *steady, *kept]))[: max(0, fewer)]:
            node.draining = True
            if not node.jobs:
                self._remove(node)

    def _add(self, spot: bool, cold: bool = True) -> None:
        node = Node(spot, self.clock.now, Scheduler(max_rows=self.gpu.max_rows))
        self.nodes.append(node)
        self.every.append(node)
        if cold:
            self._at(self.clock.now + self.gpu.cold_start_s, self._ready, node)
        else:
            node.ready = True

    def _ready(self, node: Node) -> None:
        if node.gone is not None:
            return
        node.ready = True
        if node.spot and self.gpu.interruptions_per_hour:
            life = self._luck.exponential(3600 / self.gpu.interruptions_per_hour)
            self._at(self.clock.now + life, self._vanish, node)
        self._claim()

    def _vanish(self, node: Node) -> None:
        """A spot machine is taken away, with all that it was doing."""
        if node.gone is not None:
            return
        self._remove(node)
        self.interrupted += len(node.jobs)
        self._at(self.clock.now + RETRY_S, self._again, list(node.jobs))

    def _again(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self._put_back(number)
        self._claim()

    def _remove(self, node: Node) -> None:
        node.gone = self.clock.now
        self.nodes.remove(node)

    def _at(self, when: float, event: Callable[..., None], *arguments: object) -> None:
        self._count += 1
        heapq.heappush(self._events, (when, self._count, event, arguments))

    def _outcome(self) -> Outcome:
        end = max(self.ended.values(), default=self.clock.now)
        hours = dict.fromkeys((False, True), 0.0)
        for node in self.every:
            hours[node.spot] += (min(end, node.gone or end) - node.since) / 3600
        waits: dict[str, list[float]] = {}
        for number, at in sorted(self.ended.items()):
            one = self.requests[number]
            waits.setdefault(one.tenant, []).append(at - one.at)
        times, paid, ready = np.array(self._counts, dtype=float).reshape(-1, 3).T
        return Outcome(
            gpu=self.gpu,
            waits={tenant: Waits.of(seconds) for tenant, seconds in sorted(waits.items())},
            images=sum(self.requests[number].shape.n for number in self.ended),
            seconds=end,
            times=times,
            paid=paid,
            ready=ready,
            on_demand_hours=hours[False],
            spot_hours=hours[True],
            interrupted=self.interrupted,
        )


def simulate_exactly(
    requests: Sequence[Request],
    gpu: Gpu,
    policy: Policy,
    architecture: Architecture,
    seed: int = 0,
    weights: dict[str, float] | None = None,
) -> Outcome:
    """One trace, to its end."""
    return Exact(requests, gpu, policy, architecture, seed, weights).run()
