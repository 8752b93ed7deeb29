"""Whose turn it is. Pure policy: no SQL, no clock.

Teams share by weighted virtual time: each has a counter of the work (GFLOP) it was served, divided by its weight, and
the next job is the one that would bring its team's counter least far (weighted fair queueing; the counters are VTC's).
So of two teams that always have jobs waiting each gets its weight's share of the work, whatever its jobs' number and
size, and a team with little to do does not wait behind one with much.

- **Nobody saves up.** A team that comes back is lifted to the virtual time of those who kept waiting: being idle is
  neither credit nor debt. That time is of the work done: what they have in service was charged when it was started,
  and who comes back has nothing there. So it is at most a batch ahead of them. Where nobody waited it starts even with
  the one served most.
- **Charged once.** A job is charged when it is started first. An attempt that we made necessary is free, and comes at
  its old place.
- **Inside a team** `interactive` comes before `batch`, then age decides. Overtaking is bounded: after `MOST_OVERTAKEN`
  interactive jobs that started while batch ones waited, the oldest of these is next. One of ten starts is theirs, and
  each has an end however many interactive jobs come. By number and not by age: what is left of a large batch must not
  go before all that is sent once it is old.
- **Near zero.** Counters are floats, in which the least charge is lost from 10^13 on. So all are lowered by what the
  team served least among the busy ones was, once that is much: who is idle and below would be lifted there anyway.
- **By rows.** Jobs are started while there is room, counted in UNet rows; the last may need more than is left, so that
  a large job is not overtaken by small ones for ever. A job without rows (a control map) counts as one.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

Priority = Literal["interactive", "batch"]

PRIORITIES: tuple[Priority, ...] = ("interactive", "batch")
"""In the order in which a team's jobs start, but for `MOST_OVERTAKEN`."""

MOST_OVERTAKEN = 9
"""Interactive jobs of a team that start, one after another, while a batch job of it waits."""

LEAST_GFLOP = 1e-3
"""What any job is charged: turns must pass between teams whose jobs cost nothing."""


LARGE_GFLOP = 1e9
"""From which on counters are lowered: a float there is exact to a ten-thousandth of the least charge."""


@dataclass(frozen=True, slots=True)
class Turn:
    """How far a team has been served.

    Attributes:
        served: Virtual time: GFLOP by weight, and what it was lifted by.
        waiting: Whether it had jobs left when somebody last looked.
        overtaken: How many of its interactive jobs were started while batch ones waited, since a batch job was.
    """

    served: float = 0.0
    waiting: bool = False
    overtaken: int = 0


@dataclass(frozen=True, slots=True)
class Head:
    """A job that waits at the front of its team's line.

    Attributes:
        gflop: What its start is charged: nothing where an earlier start was.
        rows: Seats it takes.
    """

    id: str
    tenant: str
    created_at: float
    rows: int
    gflop: float
    priority: Priority = "interactive"


@dataclass(frozen=True, slots=True)
class Queue:
    """What the order is decided by, beside the jobs that wait.

    Attributes:
        turns: Of all teams that ever had one.
        weights: Of teams; 1 for those that are not named.
        serving: GFLOP of the jobs that were started and have not ended, by team.
    """

    turns: Mapping[str, Turn] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    serving: Mapping[str, float] = field(default_factory=dict)

    def weight(self, tenant: str) -> float:
        """Of a team's share, against the others'."""
        return self.weights.get(tenant, 1.0)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start, in this order, and the turns that differ from before."""

    started: tuple[Head, ...]
    turns: Mapping[str, Turn]


@dataclass(frozen=True, slots=True)
class Backlog:
    """Some jobs of a team that wait.

    Attributes:
        oldest: When the first of them came; infinite where there is none.
    """

    jobs: int = 0
    rows: int = 0
    gflop: float = 0.0
    oldest: float = math.inf

    @property
    def charge(self) -> float:
        """What starting them all is charged."""
        return max(self.gflop, self.jobs * LEAST_GFLOP)

    def __add__(self, other: Backlog) -> Backlog:
        return Backlog(
            self.jobs + other.jobs, self.rows + other.rows, self.gflop + other.gflop, min(self.oldest, other.oldest)
        )


def charge(gflop: float, first: bool) -> float:
    """What a start is charged."""
    return max(gflop, LEAST_GFLOP) if first else 0.0


class _Line:
    """A team's jobs, as they come to its front.

    Args:
        heads: Those of each priority in their order.
        overtaken: As in `Turn`.
    """

    def __init__(self, heads: Iterable[Head], overtaken: int) -> None:
        self.overtaken = overtaken
        self._lines: dict[Priority, deque[Head]] = {name: deque() for name in PRIORITIES}
        for head in heads:
            self._lines[head.priority].append(head)

    def next(self) -> Head | None:
        """Take the first."""
        interactive, batch = self._lines["interactive"], self._lines["batch"]
        if batch and (not interactive or self.overtaken >= MOST_OVERTAKEN):
            self.overtaken = 0
            return batch.popleft()
        if not interactive:
            return None
        self.overtaken += bool(batch)
        return interactive.popleft()


def others_before(priority: Priority, same: int, others: int, overtaken: int) -> int:
    """How many jobs of the other priority start before a job of a team, as `_Line` has it.

    Args:
        priority: The job's.
        same: Jobs of its priority that come before it.
        others: Those of the other priority, all that wait.
        overtaken: As in `Turn`.
    """
    if priority == "batch":
        return min(others, max(0, (same + 1) * MOST_OVERTAKEN - overtaken))
    return min(others, (same + overtaken) // MOST_OVERTAKEN)


def _done(queue: Queue) -> dict[str, float]:
    """The counters without what is in service."""
    return {
        tenant: turn.served - queue.serving.get(tenant, 0.0) / queue.weight(tenant)
        for tenant, turn in queue.turns.items()
    }


def _lowered(queue: Queue) -> Queue:
    """The same order by counters near zero, where they are large."""
    done = _done(queue)
    busy = [done[tenant] for tenant, turn in queue.turns.items() if turn.waiting or tenant in queue.serving]
    least = min(busy) if busy else max(done.values(), default=0.0)
    if least < LARGE_GFLOP:
        return queue
    turns = {tenant: replace(turn, served=max(0.0, turn.served - least)) for tenant, turn in queue.turns.items()}
    return replace(queue, turns=turns)


def virtual_times(queue: Queue, waiting: Collection[str]) -> dict[str, float]:
    """The counters of the teams that wait, those that came back lifted."""
    turns = queue.turns
    done = _done(queue)
    stayed = [done[tenant] for tenant in waiting if tenant in turns and turns[tenant].waiting]
    now = min(stayed) if stayed else max(done.values(), default=0.0)
    times = {}
    for tenant in waiting:
        turn = turns.get(tenant, Turn())
        times[tenant] = turn.served if turn.waiting else max(turn.served, now)
    return times


def plan(queue: Queue, heads: Mapping[str, Sequence[Head]], room: int, held: Collection[str] = ()) -> Plan:
    """Pick what starts now.

    Args:
        queue: As it is.
        heads: Each waiting team's first jobs: of each priority, in their order, all or more than there is room for.
        room: Rows.
        held: Teams that have other jobs, which may not start now whatever room there is: they wait, and lose no turn.
    """
    before, queue = queue.turns, _lowered(queue)
    served = virtual_times(queue, {*heads, *held})
    overtaken = {tenant: turn.overtaken for tenant, turn in before.items()}
    lines = {tenant: _Line(line, overtaken.get(tenant, 0)) for tenant, line in heads.items()}
    fronts: list[tuple[float, float, str, Head]] = []

    def step_up(tenant: str) -> None:
        overtaken[tenant] = lines[tenant].overtaken  # of those that were started
        head = lines[tenant].next()
        if head is not None:
            finish = served[tenant] + head.gflop / queue.weight(tenant)
            heapq.heappush(fronts, (finish, head.created_at, head.id, head))

    for tenant in lines:
        step_up(tenant)
    started = []
    while room > 0 and fronts:
        finish, _, _, head = heapq.heappop(fronts)
        started.append(head)
        served[head.tenant] = finish
        room -= max(1, head.rows)
        step_up(head.tenant)
    left = {head.tenant for _, _, _, head in fronts} | set(held)
    after = {tenant: Turn(time, tenant in left, overtaken.get(tenant, 0)) for tenant, time in served.items()}
    gone = {tenant: turn for tenant, turn in queue.turns.items() if turn.waiting and tenant not in served}
    after = {**queue.turns, **after, **{tenant: replace(turn, waiting=False) for tenant, turn in gone.items()}}
    return Plan(tuple(started), {tenant: turn for tenant, turn in after.items() if turn != before.get(tenant)})


def ahead(queue: Queue, waiting: Mapping[str, Backlog], before: Backlog, job: Head) -> Backlog:
    """What starts before a job, if nobody sends anything more: exact inside its team.

    Of other teams only the sums are looked at, and their jobs taken to be of one size.

    Args:
        queue: As it is.
        waiting: All that wait, by team.
        before: Those of the job's team that come before it.
        job: As it would be at the front.
    """
    times = virtual_times(queue, {*waiting, job.tenant})
    finish = times[job.tenant] + (before.charge + job.gflop) / queue.weight(job.tenant)
    oldest = min(before.oldest, job.created_at)
    total = before
    for other, theirs in waiting.items():
        if other != job.tenant and theirs.jobs:
            total += _until(finish, oldest, times[other], queue.weight(other), theirs)
    return total


def _until(finish: float, oldest: float, time: float, weight: float, theirs: Backlog) -> Backlog:
    """The part of a team's backlog that starts before the counter of another team reaches `finish`."""
    each = theirs.charge / theirs.jobs
    share = (finish - time) * weight / each
    jobs = round(share) if math.isclose(share, round(share), rel_tol=1e-9) else math.floor(share)
    if jobs >= 1 and jobs <= theirs.jobs and math.isclose(share, jobs, rel_tol=1e-9) and theirs.oldest > oldest:
        jobs -= 1  # of two that would come as far, the older is first
    jobs = max(0, min(jobs, theirs.jobs))
    part = jobs / theirs.jobs
    return Backlog(jobs, round(part * theirs.rows), part * theirs.gflop, theirs.oldest if jobs else math.inf)
