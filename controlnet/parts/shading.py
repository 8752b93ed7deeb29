"""Materials, light, shadow and bench. Colours are linear RGB; heights and lengths are in pixels."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import cv2
import numpy as np
import numpy.typing as npt

from controlnet.parts.scene import Light
from controlnet.parts.shapes import Field

RGB = tuple[float, float, float]


@dataclass(frozen=True)
class Material:
    """How a metal answers light.

    Attributes:
        albedo: colour of what it reflects.
        highlight: colour and strength of the lamp's image in it.
        brushing: strength of the machining grain.
        rim: light that edges catch at grazing angles; keeps dark parts legible on dark benches.
    """

    albedo: RGB
    highlight: RGB
    brushing: float
    rim: float


METALS: Mapping[str, Material] = MappingProxyType(
    {
        "steel": Material((0.56, 0.59, 0.63), (0.50, 0.51, 0.52), 1.0, 0.0),
        "brass": Material((0.84, 0.50, 0.075), (0.50, 0.38, 0.14), 0.9, 0.0),
        "copper": Material((0.76, 0.165, 0.055), (0.46, 0.23, 0.14), 0.9, 0.0),
        "black": Material((0.030, 0.032, 0.040), (0.19, 0.195, 0.21), 0.6, 0.22),
    }
)
BENCH_COLOURS: Mapping[str, RGB] = MappingProxyType(
    {
        "blue": (0.042, 0.135, 0.42),
        "green": (0.035, 0.21, 0.11),
        "dark": (0.042, 0.038, 0.046),
        "cream": (0.72, 0.67, 0.57),
    }
)
RUST: tuple[RGB, RGB] = ((0.13, 0.035, 0.012), (0.36, 0.105, 0.025))
"""Old and fresh rust, the ends of its mottling."""


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], cells: float) -> Field:
    """Noise of mean 0 and deviation about 1 with ``cells`` bumps over the shorter side."""
    step = min(shape) / cells
    grid = rng.standard_normal((round(shape[0] / step) + 2, round(shape[1] / step) + 2))
    noise = cv2.resize(grid.astype(np.float32), shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(noise, np.float32)


def _half(field: Field) -> Field:
    size = (field.shape[1] // 2, field.shape[0] // 2)
    return np.asarray(cv2.resize(field, size, interpolation=cv2.INTER_AREA), np.float32)


def _full(field: Field, like: Field) -> Field:
    return np.asarray(cv2.resize(field, like.shape[::-1], interpolation=cv2.INTER_LINEAR))


def blur(field: Field, sigma: float) -> Field:
    """Gaussian blur."""
    return np.asarray(cv2.GaussianBlur(field, (0, 0), sigma), np.float32)


def occlusion(height: Field, unit: float) -> Field:
    """Ambient light left at each point, from 0 to 1: what stands above its surroundings sees all.

    Args:
        height: [h, w] height of the surface.
        unit: length of a frame side, which sets how far occlusion reaches.
    """
    low = _half(height)
    near = np.maximum(blur(low, 0.006 * unit) - low, 0) / np.float32(0.022 * unit)
    wide = np.maximum(blur(low, 0.022 * unit) - low, 0) / np.float32(0.06 * unit)
    return _full(1 / (1 + 1.1 * near + 1.3 * wide), height)


def sunlight(height: Field, light: Light, unit: float) -> Field:
    """Lamp light that reaches each point, 0 in full shadow, 1 in the open.

    The height field is swept away from the lamp and lowered on its way; what it still rises above
    lies in shadow. Worked at half resolution: shadows are soft anyway.
    """
    low = _half(height)
    fall = float(np.tan(light.elevation))
    reach = float(low.max()) / fall / 2
    step = max(1.5, reach / 28)
    # Averaged outlines would leave a lit seam between a part and its shadow.
    ground = np.asarray(cv2.erode(low, np.ones((3, 3), np.uint8)), np.float32)
    cast = np.zeros_like(low)
    for distance in np.arange(step, reach + step, step):
        dx, dy = -distance * np.cos(light.azimuth), -distance * np.sin(light.azimuth)
        move = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
        moved = cv2.warpAffine(low, move, low.shape[::-1], flags=cv2.INTER_LINEAR)
        cast = np.maximum(cast, np.asarray(moved) - np.float32(2 * distance * fall))
    penumbra = unit * (0.004 + 0.012 * light.softness)
    shadow = np.clip((cast - ground) / np.float32(penumbra), 0, 1)
    shadow = blur(shadow, unit * (0.003 + 0.009 * light.softness))
    return _full(1 - shadow, height)


@dataclass(frozen=True)
class Surface:
    """What the eye meets at each pixel; every field is [h, w] in picture coordinates.

    Attributes:
        normal_x: x of the unit normal.
        normal_y: y of the unit normal.
        normal_z: z of the unit normal, towards the eye.
        swirl: cosine between lamp and the direction from a turned part's centre, 0 on flat work.
        grain: machining marks, about -1 to 1.
        polish: 0 brushed to 1 polished.
        ambient: see ``occlusion``.
        lamp: see ``sunlight``.
    """

    normal_x: Field
    normal_y: Field
    normal_z: Field
    swirl: Field
    grain: Field
    polish: Field
    ambient: Field
    lamp: Field


def _ramp(x: Field) -> Field:
    x = np.clip(x, -1, 1)
    return x * (np.float32(1.5) - np.float32(0.5) * x * x)


def metal(surface: Surface, light: Light) -> tuple[Field, Field]:
    """Light on bare metal: (what its colour multiplies, strength of the highlight), both [h, w]."""
    h, w = surface.normal_x.shape
    y, x = np.ogrid[-0.5 : 0.5 : h * 1j, -0.5 : 0.5 : w * 1j]
    to_x, to_y = np.cos(light.azimuth), np.sin(light.azimuth)
    flat, rise = np.cos(light.elevation), np.sin(light.elevation)
    nx, ny, nz = surface.normal_x, surface.normal_y, surface.normal_z
    toward = nx * np.float32(to_x) + ny * np.float32(to_y)
    # Faces that lie flat would all mirror one point; a near eye makes them a gentle gradient.
    eye = (0.75 * (x * to_x + y * to_y)).astype(np.float32)
    environment = _ramp(np.float32(1.35) * toward * nz + eye)
    lambert = np.maximum(toward * np.float32(flat) + nz * np.float32(rise), 0)
    swirl2 = surface.swirl * surface.swirl
    cone = swirl2 * swirl2 * (nz * nz) * (1 - surface.polish)
    length = np.float32(np.sqrt(2 + 2 * rise))
    blinn = (toward * np.float32(flat) + nz * np.float32(1 + rise)) / length
    blinn = np.maximum(blinn + np.float32(0.12) * eye, 0)
    gloss = blinn**2
    for _ in range(4):
        gloss = gloss * gloss
    gloss = np.minimum(gloss, 1.5)
    sharp = gloss * gloss * gloss
    body = surface.ambient * (
        np.float32(0.36) + np.float32(0.30) * environment * (1 + np.float32(0.5) * surface.polish)
    )
    body += surface.lamp * (np.float32(0.40) * lambert + np.float32(0.42) * (cone - 0.28))
    body *= 1 + np.float32(0.07) * surface.grain
    shine = surface.lamp * (
        np.float32(0.62) * gloss + np.float32(0.34) * cone + np.float32(1.1) * surface.polish * sharp
    )
    return np.maximum(body, 0.02), shine


def bench(colour: RGB, light: Light, shape: tuple[int, int], rng: np.random.Generator) -> tuple[Field, Field]:
    """Paint the empty bench.

    Returns:
        Its colour [3] varied a little by chance, and its brightness [h, w]: a pool of lamp light,
        a vignette, faint stains and a fine tooth.
    """
    h, w = shape
    y, x = np.ogrid[-0.5 : 0.5 : h * 1j, -0.5 : 0.5 : w * 1j]
    pool = 0.28 * (x * np.cos(light.azimuth) + y * np.sin(light.azimuth))
    vignette = 0.36 * (x * x + y * y)
    tone = (1.04 + pool - vignette).astype(np.float32)
    tone *= 1 + np.float32(0.022) * smooth_noise(rng, shape, 7)
    tone *= 1 + np.float32(0.012) * smooth_noise(rng, shape, 40)
    tone *= 1 + np.float32(0.02) * smooth_noise(rng, shape, min(h, w) / 3)
    varied = np.array(colour) * rng.uniform(0.88, 1.12) * rng.uniform(0.95, 1.05, 3)
    return varied.astype(np.float32), tone


def develop(linear: Field, light: Light) -> npt.NDArray[np.uint8]:
    """Expose a linear picture [h, w, 3]: white balance, a soft shoulder, gamma, 8 bit."""
    balance = np.array([1 + 0.035 * light.warmth, 1, 1 - 0.045 * light.warmth], np.float32)
    exposed = linear * balance
    # Below the knee nothing changes; above it highlights roll off instead of clipping.
    knee = np.float32(0.7)
    over = np.maximum(exposed - knee, 0)
    exposed = np.minimum(exposed, knee) + over / (1 + over / (1 - knee))
    encoded = np.clip(exposed, 0, 1) ** np.float32(1 / 2.2)
    return np.asarray(255 * encoded + 0.5).astype(np.uint8)
