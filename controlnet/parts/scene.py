"""What is on the bench: the data of a scene, how scenes are drawn by chance, and how they are told.

Lengths are fractions of the frame: x to the right, y down, both from 0 to 1; angles are radians.
"""

from dataclasses import dataclass

import numpy as np

KINDS: tuple[str, ...] = ("gear", "washer", "nut", "bracket", "bearing", "bolt", "disc", "plate")
MATERIALS: tuple[str, ...] = ("steel", "brass", "copper", "black")
BENCHES: tuple[str, ...] = ("blue", "green", "dark", "cream")
DEFECTS: tuple[str, ...] = ("none", "scratch", "rust")

HELD_OUT: frozenset[tuple[str, str, str]] = frozenset(
    {
        ("gear", "brass", "green"),
        ("gear", "black", "cream"),
        ("washer", "copper", "blue"),
        ("nut", "steel", "green"),
        ("nut", "copper", "dark"),
        ("bracket", "brass", "blue"),
        ("bearing", "copper", "green"),
        ("bolt", "black", "blue"),
        ("bolt", "brass", "dark"),
        ("plate", "steel", "cream"),
    }
)
"""Combinations (kind, material, bench) that training never sees."""


@dataclass(frozen=True)
class Part:
    """One part: what it is, where it lies, and the numbers that fix its details."""

    kind: str
    material: str
    defect: str
    x: float
    y: float
    radius: float
    angle: float
    variant: int
    seed: int


@dataclass(frozen=True)
class Light:
    """The lamp.

    Attributes:
        azimuth: direction towards the lamp in the picture plane (-pi/2 = from above).
        elevation: height of the lamp over the bench.
        softness: 0 for hard shadows, 1 for very soft ones.
        warmth: from -1 (cool) to 1 (warm).
    """

    azimuth: float
    elevation: float
    softness: float
    warmth: float


@dataclass(frozen=True)
class Scene:
    """Parts on a bench under a lamp; ``seed`` fixes the texture of the bench."""

    parts: tuple[Part, ...]
    bench: str
    light: Light
    seed: int
    close_up: bool = False


def _choose(rng: np.random.Generator, names: tuple[str, ...]) -> str:
    return names[int(rng.integers(len(names)))]


def _defect(rng: np.random.Generator, sound: float) -> str:
    if rng.random() < sound:
        return "none"
    return "scratch" if rng.random() < 0.5 else "rust"


def _part(rng: np.random.Generator, kind: str, material: str, defect: str, place: tuple[float, ...]) -> Part:
    x, y, radius = place
    return Part(
        kind=kind,
        material=material,
        defect=defect,
        x=x,
        y=y,
        radius=radius,
        angle=float(rng.uniform(-np.pi, np.pi)),
        variant=int(rng.integers(3)),
        seed=int(rng.integers(2**31)),
    )


def _single(rng: np.random.Generator) -> tuple[Part, ...]:
    radius = float(rng.uniform(0.23, 0.45))
    # A large part may move less, so that it stays in the frame.
    reach = max(0.0, 0.48 - radius) * 0.75
    x, y = 0.5 + rng.uniform(-reach, reach), 0.52 + rng.uniform(-reach, reach)
    kind, material = _choose(rng, KINDS), _choose(rng, MATERIALS)
    return (_part(rng, kind, material, _defect(rng, 0.6), (float(x), float(y), radius)),)


def _close_up(rng: np.random.Generator) -> tuple[Part, ...]:
    radius = float(rng.uniform(0.5, 0.85))
    direction, shift = rng.uniform(-np.pi, np.pi), rng.uniform(0.2, 0.8) * radius
    x, y = 0.5 + shift * np.cos(direction), 0.52 + shift * np.sin(direction)
    kind, material = _choose(rng, KINDS), _choose(rng, MATERIALS)
    return (_part(rng, kind, material, _defect(rng, 0.6), (float(x), float(y), radius)),)


def _places(rng: np.random.Generator, count: int) -> list[tuple[float, ...]]:
    """Place up to ``count`` circles that at most touch, by rejection, the largest first."""
    largest = (0.0, 0.0, 0.27, 0.235, 0.205, 0.19, 0.175)[count]
    radii = sorted(rng.uniform(0.62 * largest, largest, count), reverse=True)
    places: list[tuple[float, ...]] = []
    for radius in radii:
        for _ in range(60):
            x, y = rng.uniform(radius * 0.85, 1 - radius * 0.85, 2)
            gap = rng.uniform(0.97, 1.15)
            if all(np.hypot(x - a, y - b) > gap * (radius + r) for a, b, r in places):
                places.append((float(x), float(y), float(radius)))
                break
    return places


def _several(rng: np.random.Generator) -> tuple[Part, ...]:
    places = _places(rng, int(rng.integers(2, 7)))
    kinds = ("disc",) if rng.random() < 0.4 else (*KINDS, "disc", "disc", "disc")
    kind, material = _choose(rng, kinds), _choose(rng, MATERIALS)
    defect = _defect(rng, 0.8)
    alike = rng.random()
    parts = []
    for place in places:
        if alike > 0.5:
            material = _choose(rng, MATERIALS)
            defect = _defect(rng, 0.8)
        if alike > 0.7:
            kind = _choose(rng, kinds)
        parts.append(_part(rng, kind, material, defect, place))
    return tuple(parts)


def sample_scene(seed: int) -> Scene:
    """Draw a scene: 55 % one part, 25 % two to six parts, 20 % close-ups cropped by the frame."""
    rng = np.random.default_rng(seed)
    draw = rng.random()
    parts = _single(rng) if draw < 0.55 else _several(rng) if draw < 0.8 else _close_up(rng)
    light = Light(
        azimuth=float(np.radians(rng.uniform(-165, -15))),
        elevation=float(np.radians(rng.uniform(36, 58))),
        softness=float(rng.uniform(0, 1)),
        warmth=float(rng.uniform(-1, 1)),
    )
    return Scene(parts, _choose(rng, BENCHES), light, seed, close_up=draw >= 0.8)


def held_out(scene: Scene) -> bool:
    """True if any part of the scene is a combination kept from training."""
    return any((part.kind, part.material, scene.bench) in HELD_OUT for part in scene.parts)


_ADJECTIVES = {"none": "", "scratch": "scratched", "rust": "rusty"}
_PLURALS = {kind: "discs" if kind == "disc" else "washers" if kind == "washer" else f"{kind}s" for kind in KINDS}
_BENCH_NAMES = {bench: "light" if bench == "cream" else bench for bench in BENCHES}
_COUNTS = {1: "a", 2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}
_SINGLE_OPENINGS = ("", "", "a photo of ", "a picture of ")
_CLOSE_UP_OPENINGS = ("close-up of ", "a close-up of ", "a close-up photo of ")
_CROWDS = ("{count} metal parts", "several metal parts", "{count} machine parts")


def _words(phrases: tuple[str, ...]) -> set[str]:
    return {word for phrase in phrases for word in phrase.replace(",", " ").split()}


VOCABULARY: tuple[str, ...] = tuple(
    sorted(
        _words(
            (
                *KINDS,
                *_PLURALS.values(),
                *MATERIALS,
                *(_ADJECTIVES[defect] for defect in DEFECTS),
                *_BENCH_NAMES.values(),
                *_COUNTS.values(),
                *_SINGLE_OPENINGS,
                *_CLOSE_UP_OPENINGS,
                *(crowd.replace("{count}", "") for crowd in _CROWDS),
                "on and bench",
            )
        )
    )
)
"""Every word a caption can contain; commas are not words."""


def _phrase(part: Part, count: int, *, article: bool) -> str:
    noun = part.kind if count == 1 else _PLURALS[part.kind]
    number = _COUNTS[count] if article or count > 1 else ""
    return " ".join(word for word in (number, _ADJECTIVES[part.defect], part.material, noun) if word)


def _groups(parts: tuple[Part, ...]) -> list[tuple[Part, int]]:
    """Parts that share a name, each with its number, in the order of first appearance."""
    named: dict[tuple[str, str, str], list[Part]] = {}
    for part in parts:
        named.setdefault((part.kind, part.material, part.defect), []).append(part)
    return [(same[0], len(same)) for same in named.values()]


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """Say what the scene shows, in one of several ways.

    Args:
        scene: the scene.
        rng: chooses the wording, and nothing else.

    Returns:
        A lower-case caption whose words are all in ``VOCABULARY``.
    """
    bench = f"{_BENCH_NAMES[scene.bench]} bench"
    groups = _groups(scene.parts)
    terse = rng.random() < 0.25
    if len(groups) > 3:
        crowd = _CROWDS[int(rng.integers(len(_CROWDS)))]
        kinds = {part.kind for part in scene.parts}
        what = crowd.format(count=_COUNTS[len(scene.parts)])
        if len(kinds) == 1:
            what = f"{_COUNTS[len(scene.parts)]} {_PLURALS[kinds.pop()]}"
    else:
        phrases = [_phrase(part, count, article=not terse) for part, count in groups]
        what = " and ".join(filter(None, (", ".join(phrases[:-1]), phrases[-1])))
    openings = _CLOSE_UP_OPENINGS if scene.close_up else _SINGLE_OPENINGS
    opening = openings[int(rng.integers(len(openings)))]
    if terse:
        return f"{'close-up of ' if scene.close_up else ''}{what}, {bench}"
    return f"{opening}{what} on a {bench}"
