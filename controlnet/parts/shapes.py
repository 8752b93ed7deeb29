"""Height fields of the machined parts, one function a kind.

A shape is written in its own frame: ``u`` and ``v`` are coordinates in radii, the part lies inside
the unit circle, and heights are in radii above the bench (0 = no part here). Outlines are signed
distances (negative inside), joined by ``min`` and cut by ``max``; a distance is all a bevel needs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import cv2
import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Form:
    """The surface of one part.

    Attributes:
        height: [h, w] height in radii, 0 where there is no part.
        polish: [h, w] from 0 (brushed) to 1 (polished).
        turned: True if made on a lathe: grain and highlight then run around the centre.
    """

    height: Field
    polish: Field
    turned: bool


Shape = Callable[[Field, Field, int, np.random.Generator], Form]


def _circle(u: Field, v: Field, radius: float) -> Field:
    return np.hypot(u, v) - np.float32(radius)


def _box(u: Field, v: Field, half_u: float, half_v: float, corner: float) -> Field:
    du, dv = np.abs(u) - np.float32(half_u - corner), np.abs(v) - np.float32(half_v - corner)
    outside = np.hypot(np.maximum(du, 0), np.maximum(dv, 0))
    return outside + np.minimum(np.maximum(du, dv), 0) - np.float32(corner)


def _hexagon(u: Field, v: Field, apothem: float) -> Field:
    slanted = np.float32(np.sqrt(3) / 2) * np.abs(u) + np.float32(0.5) * np.abs(v)
    return np.maximum(slanted, np.abs(v)) - np.float32(apothem)


def _fold(u: Field, v: Field, count: int) -> tuple[Field, Field]:
    """Fold the plane into one of ``count`` equal sectors, its axis along +u."""
    sector = np.float32(2 * np.pi / count)
    angle = np.arctan2(v, u)
    angle = angle - sector * np.round(angle / sector)
    radius = np.hypot(u, v)
    return radius * np.cos(angle), radius * np.sin(angle)


def _slab(distance: Field, top: float, bevel: float) -> Field:
    """Extrude an outline to ``top``; its rim falls off by a fillet of width ``bevel``."""
    inner = np.clip(1 + distance / np.float32(bevel), 0, 1)
    return np.where(distance < 0, np.float32(top) - np.float32(bevel) * inner * inner, 0)


def _brushed(height: Field) -> Field:
    return np.zeros_like(height)


def gear(u: Field, v: Field, variant: int, rng: np.random.Generator) -> Form:
    """Spur gear: 0 with a hub, 1 with lightening holes, 2 with a recessed web."""
    teeth = int(rng.integers(10, 21))
    depth = float(rng.uniform(1.6, 2.1)) / teeth
    root, pitch = 1 - depth, np.pi / teeth
    tu, tv = _fold(u, v, teeth)
    radius = np.hypot(u, v)
    along = np.clip((tu - np.float32(root)) / np.float32(depth), -0.3, 1.2)
    flank = (np.abs(tv) - np.float32(pitch) * (np.float32(0.55) - np.float32(0.25) * along)) * 0.93
    teeth_out = np.maximum(flank, radius - 1)
    outline = np.minimum(radius - np.float32(root), teeth_out)
    bore = float(rng.uniform(0.17, 0.26))
    outline = np.maximum(outline, np.float32(bore) - radius)
    top = float(rng.uniform(0.2, 0.28))
    if variant % 3 == 1:
        count = int(rng.integers(4, 7))
        hu, hv = _fold(u, v, count)
        middle = (bore + root) / 2
        outline = np.maximum(outline, -_circle(hu - np.float32(middle), hv, 0.58 / count + 0.02))
    height = _slab(outline, top, 0.045)
    if variant % 3 == 0:
        hub = np.maximum(radius - np.float32(bore + 0.2), np.float32(bore) - radius)
        height = np.maximum(height, _slab(hub, top + 0.1, 0.045))
    if variant % 3 == 2:
        web = np.maximum(radius - np.float32(root - 0.12), np.float32(bore + 0.16) - radius)
        height -= np.float32(0.085) * np.clip(-web / np.float32(0.05), 0, 1)
    return Form(height, _brushed(height), turned=True)


def washer(u: Field, v: Field, variant: int, rng: np.random.Generator) -> Form:
    """Flat washer: 0 narrow, 1 wide, 2 medium."""
    low, high = ((0.6, 0.7), (0.34, 0.44), (0.48, 0.58))[variant % 3]
    hole = float(rng.uniform(low, high))
    radius = np.hypot(u, v)
    outline = np.maximum(radius - 1, np.float32(hole) - radius)
    height = _slab(outline, float(rng.uniform(0.09, 0.15)), 0.04)
    return Form(height, _brushed(height), turned=True)


def nut(u: Field, v: Field, variant: int, rng: np.random.Generator) -> Form:
    """Hex nut with a chamfered crown and a threaded bore."""
    radius = np.hypot(u, v)
    top = float(rng.uniform(0.42, 0.56))
    hole = float(rng.uniform(0.44, 0.54))
    height = _slab(_hexagon(u, v, 0.866), top, 0.03)
    # The crown is turned: a cone cuts the six corners and leaves the arcs known from real nuts.
    height = np.minimum(height, np.float32(top) - np.float32(0.55) * np.maximum(radius - 0.8, 0))
    sink = np.float32(hole) - radius
    thread = np.float32(0.024) * np.sin(sink * np.float32(2 * np.pi / 0.042))
    bore = np.float32(top) - np.maximum(sink + 0.05, 0) * np.float32(1.0)
    wall = np.float32(top - 0.05) - sink * np.float32(3.2) + thread
    height = np.minimum(height, np.where(sink > 0, wall, bore))
    height = np.where(sink > np.float32(0.13), 0, np.maximum(height, 0))
    return Form(height, _brushed(height), turned=True)


def bracket(u: Field, v: Field, variant: int, rng: np.random.Generator) -> Form:
    """L-shaped bracket, one hole in the corner and one at the end of each arm."""
    width = float(rng.uniform(0.25, 0.31))
    long, short = 0.68, (0.68, 0.5, 0.6)[variant % 3]
    u, v = u * np.float32(0.88) + np.float32(0.36), v * np.float32(0.88) + np.float32(0.32)
    arm = _box(u - np.float32(long / 2), v, long / 2 + width, width, width * 0.5)
    leg = _box(u, v - np.float32(short / 2), width, short / 2 + width, width * 0.5)
    outline = np.minimum(arm, leg)
    drill = float(rng.uniform(0.38, 0.5)) * width
    for hole_u, hole_v in ((0.0, 0.0), (long, 0.0), (0.0, short)):
        hole = _circle(u - np.float32(hole_u), v - np.float32(hole_v), drill)
        outline = np.maximum(outline, -hole)
    height = _slab(outline, float(rng.uniform(0.14, 0.2)), 0.04)
    return Form(height, _brushed(height), turned=False)


def bearing(u: Field, v: Field, variant: int, rng: np.random.Generator) -> Form:
    """Ball bearing: two races, a groove, polished balls."""
    radius = np.hypot(u, v)
    bore = float(rng.uniform(0.34, 0.42))
    outer, inner = 0.79, bore + 0.17
    top = float(rng.uniform(0.28, 0.36))
    races = np.minimum(
        np.maximum(radius - 1, np.float32(outer) - radius),
        np.maximum(radius - np.float32(inner), np.float32(bore) - radius),
    )
    floor = np.maximum(radius - 1, np.float32(bore) - radius)
    height = np.maximum(_slab(races, top, 0.05), _slab(floor, top * 0.3, 0.02))
    middle, size = (outer + inner) / 2, (outer - inner) / 2 * 0.98
    count = int(np.pi * middle / size * (0.62, 0.72, 0.8)[variant % 3])
    bu, bv = _fold(u, v, count)
    square = np.float32(size * size) - (bu - np.float32(middle)) ** 2 - bv * bv
    balls = np.where(square > 0, np.float32(top * 0.62) + np.sqrt(np.maximum(square, 0)) * 0.9, 0)
    polish = (balls > height).astype(np.float32)
    return Form(np.maximum(height, balls).astype(np.float32), polish, turned=True)


def bolt(u: Field, v: Field, variant: int, rng: np.random.Generator) -> Form:
    """Hex bolt lying on its side, head at -u: 0 fully threaded, 1 and 2 with a plain shank."""
    shank = float(rng.uniform(0.19, 0.23))
    tip = float(rng.uniform(0.78, 0.98))
    head, end = -0.56, -0.92
    start = (head, -0.2, 0.1)[variant % 3]
    pitch = 0.095
    # A thread is a helix: seen from above its crests lean by half a pitch over the diameter.
    phase = (u + v * np.float32(pitch / (4 * shank))) / np.float32(pitch)
    crest = np.abs(phase - np.floor(phase) - np.float32(0.5)) * 2
    worn = np.clip((u - np.float32(start)) * 12, 0, 1) * np.float32(0.05)
    radius = np.float32(shank) - worn * (1 - crest)
    radius = np.minimum(radius, np.float32(shank) - (u - np.float32(tip - 0.06)) * np.float32(0.9))
    square = radius * radius - v * v
    on_shank = (square > 0) & (u > np.float32(head - 0.05)) & (u < np.float32(tip))
    height = np.where(on_shank, np.float32(0.2) + np.sqrt(np.maximum(square, 0)), 0)
    apothem, across = 0.33, np.abs(v)
    sloped = np.float32(2 * apothem) - np.maximum(across - np.float32(0.19), 0) * np.float32(1.73)
    outline = _box(u - np.float32((head + end) / 2), v, (head - end) / 2, 0.381, 0.015)
    chamfer = np.maximum(np.float32(end + 0.09) - u, 0) * np.float32(0.9)
    block = np.where(outline < 0, np.maximum(sloped - chamfer, np.float32(0.05)), 0)
    block = np.minimum(block, np.where(outline < 0, 1 - (1 + outline / 0.03).clip(0, 1) * 0.3, 0))
    height = np.maximum(height, block * np.float32(0.88)).astype(np.float32)
    return Form(height, np.full_like(height, 0.45), turned=False)


def disc(u: Field, v: Field, variant: int, rng: np.random.Generator) -> Form:
    """Plain disc: 0 flat, 1 with a raised rim, 2 struck like a coin."""
    radius = np.hypot(u, v)
    top = float(rng.uniform(0.09, 0.15))
    height = _slab(radius - 1, top, 0.05)
    if variant % 3:
        field = np.clip((np.float32(0.86) - radius) / np.float32(0.05), 0, 1)
        height = height - np.float32(0.04) * field
    if variant % 3 == 2:
        grid = rng.standard_normal((6, 6)).astype(np.float32)
        where_u, where_v = (u + 1) * np.float32(2.5), (v + 1) * np.float32(2.5)
        relief = cv2.remap(grid, where_u, where_v, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        relief = np.asarray(relief, np.float32) - np.clip(radius - 0.35, 0, 1) * np.float32(3)
        portrait = np.clip(relief * 1.5 + 0.8, 0, 1) * (radius < 0.68)
        bu, bv = _fold(u, v, 28)
        beads = np.clip(-_circle(bu - np.float32(0.77), bv, 0.055) / np.float32(0.03), 0, 1)
        height = height + np.float32(0.045) * portrait + np.float32(0.03) * beads
    height = height.astype(np.float32)
    return Form(height, _brushed(height), turned=True)


def plate(u: Field, v: Field, variant: int, rng: np.random.Generator) -> Form:
    """Rounded rectangle: 0 with two holes, 1 with four, 2 with a slot."""
    long, wide = 0.86, float(rng.uniform(0.36, 0.5))
    outline = _box(u, v, long, wide, 0.12)
    drill = float(rng.uniform(0.09, 0.13))
    if variant % 3 == 2:
        cut = _box(u, v, long * 0.55, drill, drill)
    elif variant % 3 == 1:
        cut = _circle(np.abs(u) - np.float32(long - 0.19), np.abs(v) - np.float32(wide - 0.18), 0.1)
    else:
        cut = _circle(np.abs(u) - np.float32(long - 0.26), v, drill + 0.03)
    height = _slab(np.maximum(outline, -cut), float(rng.uniform(0.11, 0.17)), 0.04)
    return Form(height, _brushed(height), turned=False)


SHAPES: Mapping[str, Shape] = MappingProxyType(
    {
        "gear": gear,
        "washer": washer,
        "nut": nut,
        "bracket": bracket,
        "bearing": bearing,
        "bolt": bolt,
        "disc": disc,
        "plate": plate,
    }
)
