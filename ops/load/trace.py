"""Who asks for what: a synthetic trace. Pure: the same seed gives the same trace.

Two traces of image generation are public, and neither is copied here. Katz's (ModelScope
`mental2008/T2I-Model-Serving-Request-Trace`: 550,000 requests of 20 days) has for each request its time, the service,
the base model and lists of ControlNets and LoRAs; no steps, size, number, latency or tenant. DiffusionDB (Hugging Face
`poloclub/diffusiondb`) has user, time, steps, guidance, sampler, width and height; no ControlNet. So what a trace must
have is known, and which of it goes together is not: the marginals below are drawn independently.

The data sets themselves can't be had where this is built, so the *numbers* of every marginal are assumed, in shapes
that the two have in common with most services: few users ask for most of it, requests come in bursts, few values are
most of the values. `ASSUMED` says so for each; a report carries it. Replace `MIX` where you know your own.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

Caller = Literal["sync", "poll", "follow"]
"""Waits in `POST /v1/images`; submits a job and asks for it; submits a job and follows its events."""

Steering = Literal["none", "canny", "map"]
"""By the prompt alone; by a photograph; by a control map that was made of it before."""

Value = TypeVar("Value", bound=str | int)

GUIDANCE = 3.0
"""Of every request: two rows an image. Nothing else about it changes how long a request takes."""

WORDS = ("brass", "copper", "steel"), ("gear", "nut", "bolt", "disc"), ("blue", "green", "white")
NAMES = ("press", "studio", "agency", "shop", "lab", "archive", "school", "atelier")


@dataclass(frozen=True, slots=True)
class Team:
    """A tenant.

    Attributes:
        weight: Of its share, as it is declared to the platform.
        share: Of all requests.
    """

    name: str
    weight: float
    share: float


@dataclass(frozen=True, slots=True)
class Shape:
    """What of a request decides how long it takes. Width and height are both `side` pixels."""

    steering: Steering
    n: int
    steps: int
    side: int

    def __str__(self) -> str:
        return f"{self.steering} {self.n}x{self.side}px {self.steps} steps"


@dataclass(frozen=True, slots=True)
class Request:
    """One line of a trace.

    Attributes:
        number: Its place.
        at: Seconds from the start.
        picture: Which photograph steers it.
        cancel_after_s: The caller changes their mind so long after it was accepted; None if they don't.
        hangs_up: A follower loses its connection after the first event, and resumes.
        deadline_s: After which the result is not wanted; None is whenever.
    """

    number: int
    at: float
    tenant: str
    caller: Caller
    shape: Shape
    picture: int
    prompt: str
    seed: int
    cancel_after_s: float | None = None
    hangs_up: bool = False
    deadline_s: float | None = None


def zipf(count: int, exponent: float) -> tuple[float, ...]:
    """Shares of `count` ranks, the first the largest; they add up to 1."""
    raw = [rank**-exponent for rank in range(1, count + 1)]
    return tuple(value / sum(raw) for value in raw)


def teams(count: int, exponent: float = 1.2) -> tuple[Team, ...]:
    """Teams with Zipf shares of the requests. The second has twice the weight of the others."""
    weights = (1.0, 2.0, *itertools.repeat(1.0, count))
    names = (*NAMES, *(f"team-{i}" for i in range(len(NAMES), count)))
    return tuple(Team(*each) for each in zip(names, weights, zipf(count, exponent), strict=False))


@dataclass(frozen=True, slots=True)
class Mix:
    """The marginals.

    Attributes:
        teams: Whose requests.
        callers: Shares of kinds of caller.
        steering: Shares of what steers.
        n: Shares of images a job.
        steps: Likewise.
        sides: Likewise, pixels.
        pictures: Photographs of a team, with Zipf shares of `picture_exponent`.
        cancelled: Share of asynchronous callers who cancel, uniformly within `cancel_within_s` of being accepted.
        hangs_up: Share of followers who lose their connection.
    """

    teams: Sequence[Team]
    callers: Mapping[Caller, float]
    steering: Mapping[Steering, float]
    n: Mapping[int, float]
    steps: Mapping[int, float]
    sides: Mapping[int, float]
    pictures: int
    picture_exponent: float
    cancelled: float
    cancel_within_s: float
    hangs_up: float

    def shapes(self) -> Iterator[tuple[Shape, float]]:
        """Every shape with its share; the marginals are independent."""
        parts = (self.steering, self.n, self.steps, self.sides)
        for (steering, a), (n, b), (steps, c), (side, d) in itertools.product(*(part.items() for part in parts)):
            yield Shape(steering, n, steps, side), a * b * c * d  # type: ignore[arg-type]


MIX = Mix(
    teams=teams(6),
    callers={"sync": 0.4, "poll": 0.35, "follow": 0.25},
    steering={"none": 0.4, "canny": 0.35, "map": 0.25},
    n={1: 0.8, 2: 0.2},
    steps={10: 0.3, 20: 0.5, 30: 0.2},
    sides={64: 0.7, 96: 0.3},
    pictures=12,
    picture_exponent=1.0,
    cancelled=0.05,
    cancel_within_s=2.0,
    hangs_up=0.3,
)
"""For the shipped model on a CPU: half and three quarters of its native 128 pixels, so that a minute has many."""

ASSUMED: Mapping[str, str] = {
    "arrivals": "Poisson, or switched between two rates (four times the mean for 2 s, every 12 s). Times are in "
    "both public traces; a mean over 20 days (0.3 a second) says nothing of bursts, so theirs are assumed.",
    "teams": "six, Zipf with exponent 1.2 (DiffusionDB has users, Katz two services; the exponent is assumed); the "
    "second has weight 2.",
    "steering": "40 % none, 35 % a photograph under canny, 25 % a map made before. Katz lists the ControlNets of each "
    "request; that there are maps to reuse is this platform's own.",
    "pictures": "12 a team, Zipf with exponent 1. Not in any public trace.",
    "steps": "10, 20, 30 in 30, 50, 20 %. The field is in DiffusionDB; the shares are assumed.",
    "size": "64 and 96 pixels squared in 70 and 30 %: the field is in DiffusionDB; sizes are those of a small model.",
    "images a job": "1 and 2 in 80 and 20 %. Not in any public trace.",
    "kinds of caller": "40 % wait, 35 % ask again and again, 25 % follow events, of whom 30 % lose their connection "
    "once. Not in any public trace.",
    "cancels": "5 % of those who do not wait, within 2 s. Not in any public trace.",
    "deadlines": "every caller says when the result is of no use any more, and means the SLO. Not in any public trace.",
}
"""What nobody published, by marginal."""


def synthesize(mix: Mix, arrivals: Iterable[float], seed: int) -> Iterator[Request]:
    """A trace.

    Args:
        mix: What is asked for.
        arrivals: When, seconds from the start, in order.
        seed: Of everything else.
    """
    luck = random.Random(seed)
    by_name = {team.name: team.share for team in mix.teams}
    popularity = dict(enumerate(zipf(mix.pictures, mix.picture_exponent)))
    for number, at in enumerate(arrivals):
        caller = _one(luck, mix.callers)
        shape = Shape(_one(luck, mix.steering), _one(luck, mix.n), _one(luck, mix.steps), _one(luck, mix.sides))
        material, part, bench = (luck.choice(words) for words in WORDS)
        regret, patience, drop = luck.random(), luck.random(), luck.random()  # always drawn: one more changes no other
        cancels = caller != "sync" and regret < mix.cancelled
        yield Request(
            number=number,
            at=at,
            tenant=_one(luck, by_name),
            caller=caller,
            shape=shape,
            picture=_one(luck, popularity),
            prompt=f"a {material} {part} on a {bench} bench",
            seed=luck.randrange(1 << 32),
            cancel_after_s=patience * mix.cancel_within_s if cancels else None,
            hangs_up=caller == "follow" and drop < mix.hangs_up,
        )


def _one(luck: random.Random, shares: Mapping[Value, float]) -> Value:
    (value,) = luck.choices(list(shares), list(shares.values()))
    return value
