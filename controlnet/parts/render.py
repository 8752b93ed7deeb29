"""Render a scene: picture, depth, segmentation and materials, all from one height field.

The parts are laid as heights on a map of the bench. The oblique view lifts a point of height z by
``ground.TILT * z`` pixels up the picture: painting the map layer by layer, lowest first, leaves at
each pixel the highest layer that covers it, so side walls, depth and segmentation are exact.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import cv2
import numpy as np
import numpy.typing as npt

from controlnet.parts import shading
from controlnet.parts.ground import Ground
from controlnet.parts.scene import MATERIALS, Scene
from controlnet.parts.shapes import Field

Bytes = npt.NDArray[np.uint8]

SUPERSAMPLING = 3
PALETTE: Mapping[str, tuple[int, int, int]] = MappingProxyType(
    {
        "bench": (30, 30, 30),
        "gear": (235, 80, 60),
        "washer": (60, 170, 235),
        "nut": (240, 200, 60),
        "bracket": (120, 225, 120),
        "bearing": (195, 115, 230),
        "bolt": (255, 150, 60),
        "disc": (70, 225, 215),
        "plate": (240, 130, 180),
        "rust": (150, 75, 25),
    }
)
"""Segmentation colours."""


@dataclass(frozen=True)
class Rendering:
    """A rendered scene.

    Attributes:
        image: [H, W, 3] RGB.
        depth: [H, W], near is white.
        segmentation: [H, W, 3], colours of ``PALETTE``.
        mask: [H, W] True on parts.
        materials: [H, W] 0 on the bench, else 1 + index in ``MATERIALS``.
    """

    image: Bytes
    depth: Bytes
    segmentation: Bytes
    mask: npt.NDArray[np.bool_]
    materials: Bytes


def _surface(ground: Ground, scene: Scene, index: npt.NDArray[np.intp], wall: npt.NDArray[np.bool_]) -> shading.Surface:
    def seen(field: Field) -> Field:
        return field.ravel().take(index)

    smooth = shading.blur(ground.height, 0.8)
    slope_x = seen(np.asarray(cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=1 / 8)))
    slope_y = seen(np.asarray(cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=1 / 8)))
    # At an outline the slope is a cliff; a bounded slope reads as the lit bevel of a rim.
    steep = np.hypot(slope_x, slope_y)
    bounded = np.where(wall, np.float32(6), np.minimum(steep, np.float32(1.3)))
    gain = np.asarray(bounded / np.maximum(steep, np.float32(1e-4)), np.float32)
    slope_x *= gain
    slope_y *= gain
    normal_z = 1 / np.sqrt(slope_x * slope_x + slope_y * slope_y + 1)
    return shading.Surface(
        normal_x=-slope_x * normal_z,
        normal_y=-slope_y * normal_z,
        normal_z=normal_z,
        swirl=np.where(wall, 0, seen(ground.swirl)),
        grain=np.where(wall, 0, seen(ground.grain)),
        polish=seen(ground.polish),
        ambient=seen(shading.occlusion(ground.height, ground.frame)),
        lamp=seen(shading.sunlight(ground.height, scene.light, ground.frame)),
    )


def _tints(scene: Scene, bench: Field) -> tuple[Field, Field, Field]:
    """Albedo, highlight and rim of each owner; row 0 is the bench."""
    metals = [shading.METALS[part.material] for part in scene.parts]
    varied = [
        np.array(metal.albedo) * np.random.default_rng((part.seed, 1)).uniform(0.93, 1.04, 3)
        for part, metal in zip(scene.parts, metals, strict=True)
    ]
    albedo = np.array([bench, *varied], np.float32)
    highlight = np.array([(0, 0, 0), *(metal.highlight for metal in metals)], np.float32)
    return albedo, highlight, np.array([0, *(metal.rim for metal in metals)], np.float32)


def _paint(scene: Scene, ground: Ground, index: npt.NDArray[np.intp], z: Field, wall: npt.NDArray[np.bool_]) -> Field:
    surface = _surface(ground, scene, index, wall)
    owner = ground.owner.ravel().take(index)
    rust, scratch = ground.rust.ravel().take(index), ground.scratch.ravel().take(index)
    mottle = np.clip(0.5 + 0.36 * ground.mottle.ravel().take(index), 0, 1)
    body, shine = shading.metal(surface, scene.light)
    # Little light finds its way down a wall, and machining marks end at the edge.
    top = np.maximum(ground.height.ravel().take(index), 1)
    body = np.where(wall, body * (np.float32(0.36) + np.float32(0.5) * z / top), body)
    shine = np.where(wall, shine * np.float32(0.3), shine) * (1 - rust)
    scratch = np.where(wall, 0, scratch)
    body = body * (1 + np.float32(0.45) * scratch)
    shine = np.maximum(shine + np.float32(0.65) * np.maximum(scratch, 0), 0)
    colour, tone = shading.bench(
        shading.BENCH_COLOURS[scene.bench],
        scene.light,
        (ground.frame, ground.frame),
        np.random.default_rng((scene.seed, 2)),
    )
    lit = np.float32(0.36) * surface.ambient + np.float32(0.64) * surface.lamp
    bare = owner == 0
    body = np.where(bare, tone * lit * surface.ambient, body)
    albedo, highlight, rim = _tints(scene, colour)
    old, fresh = np.array(shading.RUST, np.float32)
    edge = rim.take(owner) * (1 - surface.normal_z) * np.where(wall, np.float32(0.15), 1)
    edge *= np.float32(0.55) + np.float32(0.45) * surface.lamp
    channels = []
    for channel in range(3):
        base = albedo[:, channel].take(owner)
        stained = old[channel] + (fresh[channel] - old[channel]) * mottle
        base += rust * (stained - base)
        channels.append(base * body + highlight[:, channel].take(owner) * shine + edge)
    return np.asarray(cv2.merge(channels), np.float32)


def render(scene: Scene, size: int = 128) -> Rendering:
    """Render a scene; the same scene and size always give the same bytes.

    Args:
        scene: what to render.
        size: side of the square picture in pixels.
    """
    ground = Ground(size * SUPERSAMPLING)
    for owner, part in enumerate(scene.parts, start=1):
        ground.lay(part, owner, scene.light.azimuth)
    index, z, wall = ground.visible()
    linear = cv2.resize(_paint(scene, ground, index, z, wall), (size, size), interpolation=cv2.INTER_AREA)
    # Maps are sampled at pixel centres, never averaged: a blend of two labels is a third label.
    middle = slice(SUPERSAMPLING // 2, None, SUPERSAMPLING)
    owner_map = ground.owner.ravel().take(index[middle, middle])
    rusty = ground.rust.ravel().take(index[middle, middle]) > 0.5
    codes = [0, *(1 + MATERIALS.index(part.material) for part in scene.parts)]
    colours = [PALETTE["bench"], *(PALETTE[part.kind] for part in scene.parts)]
    segmentation = np.array(colours, np.uint8)[owner_map]
    segmentation[rusty & (owner_map > 0)] = PALETTE["rust"]
    near = 1 - np.exp(-z / np.float32(0.09 * ground.frame))
    ramp = np.linspace(34, 62, ground.frame, dtype=np.float32)[:, None]
    depth = cv2.resize(ramp + 190 * near, (size, size), interpolation=cv2.INTER_AREA)
    return Rendering(
        image=shading.develop(np.asarray(linear, np.float32), scene.light),
        depth=np.asarray(depth + 0.5).astype(np.uint8),
        segmentation=segmentation,
        mask=owner_map > 0,
        materials=np.array(codes, np.uint8)[owner_map],
    )
