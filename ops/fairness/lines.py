"""Where jobs wait in a simulation: in the store, or in a few dictionaries under the same policy.

The dictionaries are the obvious thing that the store's SQL must equal; a test lets both serve one trace.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

import sqlalchemy as sa

from serve.jobs.cost import Cost
from serve.jobs.database import durable
from serve.jobs.fairness import PRIORITIES, Backlog, Head, Priority, Queue, Turn, ahead, charge, others_before, plan
from serve.jobs.pace import Pace
from serve.jobs.prediction import Capacity, Running, predicted_s
from serve.jobs.schema import tenants
from serve.jobs.spec import JobSpec
from serve.jobs.store import JobResult, JobStore, Lease, ModelVersion, StoredImage

LEASE_S = 1e9
MODEL = ModelVersion("simulated", "1", "sha256:00")


@dataclass(frozen=True, slots=True)
class Offer:
    """A job that a team wants done.

    Attributes:
        at: When it comes, in seconds.
        deadline_s: Seconds from then after which it is worth nothing.
    """

    at: float
    tenant: str
    cost: Cost
    deadline_s: float | None = None
    priority: Priority = "interactive"


class Line(Protocol):
    """Where jobs wait. Offers are known by their number."""

    def predicted_s(self, offer: Offer) -> float | None:
        """Seconds until it would be done."""
        ...

    def submit(self, number: int, offer: Offer) -> None:
        """Let it wait."""
        ...

    def claim(self, room: int) -> list[int]:
        """What starts now."""
        ...

    def finish(self, number: int) -> None:
        """It is done."""
        ...


class StoreLine:
    """The real store.

    Args:
        engine: From `open_database`; without jobs.
        clock: Of the simulation.
        pace: That of the one sampler.
        weights: Of teams.
    """

    def __init__(
        self, engine: sa.Engine, clock: Callable[[], float], pace: Pace, weights: Mapping[str, float] | None = None
    ) -> None:
        self._store = JobStore(engine, clock)
        self._pace = pace
        self._numbers: dict[str, int] = {}
        self._leases: dict[int, Lease] = {}
        declared = [
            {"name": name, "weight": weight, "limits": {}, "created_at": clock()}
            for name, weight in (weights or {}).items()
        ]
        if declared:
            with durable(engine).begin() as connection:
                connection.execute(sa.insert(tenants), declared)
        self._store.paces.keep({"simulated": pace})

    def predicted_s(self, offer: Offer) -> float | None:
        """Seconds until it would be done."""
        self._store.paces.keep({"simulated": self._pace})  # it is heard of all the time
        return self._store.outlook(offer.tenant, offer.priority, offer.cost).predicted_s

    def submit(self, number: int, offer: Offer) -> None:
        """Let it wait."""
        spec = JobSpec("", "", (0,), steps=offer.cost.steps, guidance=2.0, width=8, height=8)
        how = {"cost": offer.cost, "priority": offer.priority, "deadline_s": offer.deadline_s}
        self._numbers[self._store.submit(offer.tenant, spec, MODEL, **how).id] = number  # type: ignore[arg-type]

    def claim(self, room: int) -> list[int]:
        """What starts now."""
        leases = {self._numbers[lease.job.id]: lease for lease in self._store.claim("simulated", LEASE_S, room)}
        self._leases |= leases
        return list(leases)

    def finish(self, number: int) -> None:
        """It is done."""
        lease = self._leases.pop(number)
        self._store.succeed(lease, JobResult((StoredImage(f"{lease.job.id}.png", 0, 8, 8),)))


@dataclass
class PlainLine:
    """The policy over dictionaries.

    Args:
        clock: Of the simulation.
        pace: That of the one sampler.
        weights: Of teams.
    """

    clock: Callable[[], float]
    pace: Pace
    weights: Mapping[str, float] = field(default_factory=dict)
    turns: dict[str, Turn] = field(default_factory=dict)
    waiting: dict[str, dict[Priority, dict[int, Offer]]] = field(default_factory=dict)
    running: dict[int, tuple[Offer, float]] = field(default_factory=dict)
    charged: set[int] = field(default_factory=set)

    @property
    def _capacity(self) -> Capacity:
        return Capacity(self.pace, samplers=1)

    def predicted_s(self, offer: Offer) -> float | None:
        """Seconds until it would be done."""
        before = self._backlog(offer.tenant, (offer.priority,))
        overtaken = self.turns.get(offer.tenant, Turn()).overtaken
        for other in set(PRIORITIES) - {offer.priority}:
            others = self._backlog(offer.tenant, (other,)).jobs
            before += self._backlog(
                offer.tenant, (other,), others_before(offer.priority, before.jobs, others, overtaken)
            )
        backlogs = {team: self._backlog(team, PRIORITIES) for team in self.waiting}
        waiting = {team: backlog for team, backlog in backlogs.items() if backlog.jobs}
        price = charge(offer.cost.gflop, first=True)
        head = Head("", offer.tenant, offer.at, offer.cost.rows, price, offer.priority)
        total = ahead(self._queue, waiting, before, head)
        now = self.clock()
        started = sorted((since, number, offer.cost) for number, (offer, since) in self.running.items())
        running = [Running(cost.rows, cost.gflop, now - since) for since, _, cost in started]
        return predicted_s(self._capacity, running, total, offer.cost)

    def submit(self, number: int, offer: Offer) -> None:
        """Let it wait."""
        lines = self.waiting.setdefault(offer.tenant, {name: {} for name in PRIORITIES})
        lines[offer.priority][number] = offer

    def claim(self, room: int) -> list[int]:
        """What starts now."""
        now = self.clock()
        while room > 0:
            wanted = plan(self._queue, self._heads(room + 1, now), room)
            offers = {int(head.id): self._find(int(head.id), head.tenant) for head in wanted.started}
            hopeless = [number for number, offer in offers.items() if self._hopeless(offer, now)]
            if not hopeless:
                for number, offer in offers.items():
                    del self.waiting[offer.tenant][offer.priority][number]
                    self.running[number] = offer, now
                self.charged.update(offers)
                self.turns |= wanted.turns
                return list(offers)
            for number in hopeless:
                del self.waiting[offers[number].tenant][offers[number].priority][number]
        return []

    def finish(self, number: int) -> None:
        """It is done."""
        del self.running[number]

    def put_back(self, number: int) -> None:
        """Its attempt was lost: it comes at its old place, and is not charged again."""
        offer, _ = self.running.pop(number)
        self.submit(number, offer)
        line = self.waiting[offer.tenant][offer.priority]
        self.waiting[offer.tenant][offer.priority] = dict(sorted(line.items()))

    @property
    def _queue(self) -> Queue:
        serving: dict[str, float] = {}
        for offer, _ in self.running.values():
            serving[offer.tenant] = serving.get(offer.tenant, 0.0) + offer.cost.gflop
        return Queue(self.turns, self.weights, serving)

    def _backlog(self, tenant: str, kinds: tuple[Priority, ...], most: int | None = None) -> Backlog:
        lines = [self.waiting.get(tenant, {}).get(kind, {}) for kind in kinds]
        offers = [offer for line in lines for offer in islice(line.values(), most)]
        rows, gflop = sum(offer.cost.rows for offer in offers), sum(offer.cost.gflop for offer in offers)
        return Backlog(len(offers), rows, gflop, min(offer.at for offer in offers)) if offers else Backlog()

    def _heads(self, most: int, now: float) -> dict[str, list[Head]]:
        heads: dict[str, list[Head]] = {}
        for tenant, lines in self.waiting.items():
            for priority, line in lines.items():
                late = [n for n, offer in line.items() if offer.deadline_s and offer.at + offer.deadline_s <= now]
                for number in late:
                    del line[number]
                for number, offer in islice(line.items(), most):
                    price = charge(offer.cost.gflop, first=number not in self.charged)
                    head = Head(f"{number:09}", tenant, offer.at, offer.cost.rows, price, priority)
                    heads.setdefault(tenant, []).append(head)
        return heads

    def _find(self, number: int, tenant: str) -> Offer:
        return next(line[number] for line in self.waiting[tenant].values() if number in line)

    def _hopeless(self, offer: Offer, now: float) -> bool:
        busy = sum(job.cost.rows for job, _ in self.running.values())
        return (
            offer.deadline_s is not None and now + self._capacity.own_s(offer.cost, busy) > offer.at + offer.deadline_s
        )
