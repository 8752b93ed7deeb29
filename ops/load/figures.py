"""From what became of each request to the numbers of a report. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ops.bench.figure import percentile
from ops.load.plan import Outcome
from ops.load.trace import Request, Shape, Team
from ops.load.work import gflop

SLO = 3.0
"""Times its seconds alone that a request may take."""


@dataclass(frozen=True, slots=True)
class Waits:
    """Seconds from the scheduled arrival to the images, of those that had them."""

    count: int
    p50: float | None
    p99: float | None

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Waits:
        """What there is."""
        if not seconds:
            return cls(0, None, None)
        return cls(len(seconds), percentile(seconds, 0.5), percentile(seconds, 0.99))


@dataclass(frozen=True, slots=True)
class Standing:
    """How a team fared.

    Attributes:
        offered: Work it asked for, GFLOP.
        served: Work done for it while requests came.
        entitled: Its share of all that was served, by weight; what a team does not ask for goes to the others.
        met: Requests that were done in time.
    """

    team: str
    weight: float
    requests: int
    offered: float
    served: float
    entitled: float
    met: int
    refused: int
    waits: Waits


@dataclass(frozen=True, slots=True)
class Figures:
    """One load.

    Attributes:
        name: For people.
        load: Times capacity, as it was asked for.
        offered_load: As it came out of the seed.
        seconds: How long requests came.
        offered: Requests, without those whose callers cancelled.
        met: Done within their SLO.
        done: Done at all.
        refusals: By status and type of problem: 429, and jobs given up for their deadline after they were accepted.
        refused_calls: 429 that did not end a request, by call.
        failures: Requests that ended otherwise, by reason.
        unfinished: Requests that nobody waited for any longer.
        missing: Requests of which the generator told nothing.
        errors: Answers of 5xx and calls without an answer, by call and type.
        cancelled: Requests whose callers changed their mind and were heeded.
        resumed: Streams that were taken up again.
        disorder: Events that came twice or out of order.
        late: Seconds that the generator sent after the scheduled time; `count` is all requests.
        callers: By kind.
        timeline: For each second: requests that arrived then and were met, done late, and neither.
    """

    name: str
    load: float
    offered_load: float
    seconds: float
    offered: int
    met: int
    done: int
    refusals: Mapping[str, int]
    refused_calls: Mapping[str, int]
    failures: Mapping[str, int]
    unfinished: int
    missing: int
    errors: Mapping[str, int]
    cancelled: int
    resumed: int
    disorder: int
    late: Waits
    late_most: float
    waits: Waits
    callers: Mapping[str, Waits]
    teams: Sequence[Standing]
    timeline: Sequence[tuple[int, int, int]]

    @property
    def goodput(self) -> float:
        """Share of what was offered that was done in time; what was refused counts against it."""
        return self.met / self.offered if self.offered else 0.0

    @property
    def sound(self) -> bool:
        """Whether every request was answered, if only by a refusal."""
        return not (self.errors or self.failures or self.unfinished or self.missing)

    @property
    def lightest(self) -> Standing:
        """The team that asks for least."""
        return min(self.teams, key=lambda one: one.offered)


def figures(
    name: str,
    load: float,
    seconds: float,
    requests: Sequence[Request],
    outcomes: Iterable[Outcome],
    teams: Sequence[Team],
    solo_s: Mapping[Shape, float],
    capacity: float,
) -> Figures:
    """Count.

    Args:
        name: Of the load.
        load: Times capacity.
        seconds: How long requests came.
        requests: The trace.
        outcomes: In any order; some may be missing.
        teams: Of the trace, with their weights.
        solo_s: Of every shape of the trace.
        capacity: GFLOP a second.
    """
    by_number = {one.number: one for one in outcomes}
    kept = [request for request in requests if request.cancel_after_s is None]
    pairs = [(request, by_number[request.number]) for request in kept if request.number in by_number]
    done = [(request, one) for request, one in pairs if one.end == "done"]
    met = {request.number for request, one in done if one.ended - request.at <= limit_s(request, one, solo_s)}
    everything = list(by_number.values())
    late = [max(0.0, by_number[r.number].sent - r.at) for r in requests if r.number in by_number]
    waits: defaultdict[str, list[float]] = defaultdict(list)
    for request, one in done:
        waits[request.caller].append(one.ended - request.at)
    return Figures(
        name=name,
        load=load,
        offered_load=sum(gflop(request.shape) for request in requests) / seconds / capacity,
        seconds=seconds,
        offered=len(kept),
        met=len(met),
        done=len(done),
        refusals=_count(_refusal(one) for _, one in pairs if one.end in ("refused", "dropped")),
        refused_calls=_count(call for one in everything for call in one.refused_calls),
        failures=_count(one.reason for one in everything if one.end == "failed"),
        unfinished=sum(one.end == "unfinished" for one in everything),
        missing=len(requests) - len(by_number),
        errors=_count(f"{fault.call}: {fault.what}" for one in everything for fault in one.faults),
        cancelled=sum(one.end == "cancelled" for one in everything),
        resumed=sum(one.resumed for one in everything),
        disorder=sum(one.disorder for one in everything),
        late=Waits.of(late),
        late_most=max(late, default=0.0),
        waits=Waits.of([one.ended - request.at for request, one in done]),
        callers={caller: Waits.of(seconds) for caller, seconds in sorted(waits.items())},
        teams=list(_standings(teams, requests, by_number, met, seconds)),
        timeline=_timeline(kept, by_number, met, seconds),
    )


def limit_s(request: Request, outcome: Outcome, solo_s: Mapping[Shape, float]) -> float:
    """How long the request may take. Who had to make the map first has the time of a photograph's shape."""
    shape = request.shape
    if outcome.made_map:
        shape = Shape("canny", shape.n, shape.steps, shape.side)
    return SLO * solo_s[shape]


def entitlements(demands: Sequence[float], weights: Sequence[float], served: float) -> list[float]:
    """Shares of `served` by weight, none above its demand: what one does not ask for goes to the others (max-min)."""
    shares = [0.0] * len(demands)
    open_ = [i for i, demand in enumerate(demands) if demand > 0]
    left = min(served, sum(demands))
    while open_ and left > 0:
        level = left / sum(weights[i] for i in open_)
        full = [i for i in open_ if demands[i] - shares[i] <= level * weights[i]]
        for i in full or open_:
            part = demands[i] - shares[i] if full else level * weights[i]
            shares[i] += part
            left -= part
        if not full:
            break
        open_ = [i for i in open_ if i not in full]
    return shares


def _standings(
    teams: Sequence[Team], requests: Sequence[Request], outcomes: Mapping[int, Outcome], met: set[int], seconds: float
) -> Iterable[Standing]:
    mine: defaultdict[str, list[Request]] = defaultdict(list)
    for request in requests:
        if request.cancel_after_s is None:
            mine[request.tenant].append(request)

    def served(team: str) -> float:
        ends = ((request, outcomes.get(request.number)) for request in mine[team])
        return sum(gflop(r.shape) for r, one in ends if one and one.end == "done" and one.ended <= seconds)

    offered = [sum(gflop(request.shape) for request in mine[team.name]) for team in teams]
    work = [served(team.name) for team in teams]
    shares = entitlements(offered, [team.weight for team in teams], sum(work))
    for team, wanted, had, entitled in zip(teams, offered, work, shares, strict=True):
        known = [(request, outcomes[request.number]) for request in mine[team.name] if request.number in outcomes]
        yield Standing(
            team=team.name,
            weight=team.weight,
            requests=len(mine[team.name]),
            offered=wanted,
            served=had,
            entitled=entitled,
            met=sum(request.number in met for request in mine[team.name]),
            refused=sum(one.end in ("refused", "dropped") for _, one in known),
            waits=Waits.of([one.ended - request.at for request, one in known if one.end == "done"]),
        )


def _timeline(
    requests: Sequence[Request], outcomes: Mapping[int, Outcome], met: set[int], seconds: float
) -> list[tuple[int, int, int]]:
    rows = [[0, 0, 0] for _ in range(max(1, int(seconds + 0.999)))]
    for request in requests:
        one = outcomes.get(request.number)
        column = 0 if request.number in met else 1 if one is not None and one.end == "done" else 2
        rows[min(int(request.at), len(rows) - 1)][column] += 1
    return [(a, b, c) for a, b, c in rows]


def _refusal(one: Outcome) -> str:
    return f"{one.reason}, before it was a job" if one.end == "refused" else "deadline-missed, after it was accepted"


def _count(names: Iterable[str]) -> Mapping[str, int]:
    return dict(Counter(names).most_common())
