"""The bench seen from straight above, and what of it the oblique view shows."""

import cv2
import numpy as np
import numpy.typing as npt

from controlnet.parts import shading
from controlnet.parts.scene import Part
from controlnet.parts.shapes import SHAPES, Field

TILT = 0.36
"""Pixels that a point moves up the picture for each pixel of its height."""


class Ground:
    """The bench seen from straight above, with a border, filled part by part.

    The border holds what lies outside the frame but leans or casts a shadow into it.
    """

    def __init__(self, frame: int) -> None:
        """Start with an empty bench around a picture of ``frame`` pixels a side."""
        self.frame = frame
        self.side, self.below = frame // 12, frame // 5
        shape = (frame + self.side + self.below, frame + 2 * self.side)
        self.height: Field = np.zeros(shape, np.float32)
        self.swirl: Field = np.zeros(shape, np.float32)
        self.grain: Field = np.zeros(shape, np.float32)
        self.polish: Field = np.zeros(shape, np.float32)
        self.rust: Field = np.zeros(shape, np.float32)
        self.mottle: Field = np.zeros(shape, np.float32)
        self.scratch: Field = np.zeros(shape, np.float32)
        self.owner: npt.NDArray[np.uint8] = np.zeros(shape, np.uint8)

    def lay(self, part: Part, owner: int, azimuth: float) -> None:
        """Lay a part on the bench; where parts meet, the higher one is seen.

        Args:
            part: the part.
            owner: number that marks its points, from 1.
            azimuth: direction towards the lamp.
        """
        rng = np.random.default_rng(part.seed)
        radius = part.radius * self.frame
        x, y = part.x * self.frame + self.side, part.y * self.frame + self.side
        rows, columns = self.height.shape
        top, bottom = max(0, int(y - radius) - 2), min(rows, int(y + radius) + 3)
        left, right = max(0, int(x - radius) - 2), min(columns, int(x + radius) + 3)
        if top >= bottom or left >= right:
            return
        window = (slice(top, bottom), slice(left, right))
        dx = (np.arange(left, right, dtype=np.float32) - np.float32(x))[None, :] / radius
        dy = (np.arange(top, bottom, dtype=np.float32) - np.float32(y))[:, None] / radius
        dx, dy = dx.astype(np.float32), dy.astype(np.float32)
        cosine, sine = np.float32(np.cos(part.angle)), np.float32(np.sin(part.angle))
        u, v = dx * cosine + dy * sine, dy * cosine - dx * sine
        form = SHAPES[part.kind](u, v, part.variant, rng)
        height = form.height * np.float32(radius)
        seen = height > self.height[window]

        def put(field: npt.NDArray[np.generic], value: npt.ArrayLike) -> None:
            np.copyto(field[window], value, where=seen)

        marks = rng.standard_normal(512).astype(np.float32)
        marks = (marks + np.roll(marks, 1)) * np.float32(0.7)
        if form.turned:
            away = np.hypot(u, v)
            lamp_x, lamp_y = np.float32(np.cos(azimuth)), np.float32(np.sin(azimuth))
            put(self.swirl, (dx * lamp_x + dy * lamp_y) / np.maximum(away, np.float32(1e-3)))
            along = away
        else:
            put(self.swirl, np.float32(0.68))
            along = v + 1
        put(self.grain, marks[(along * np.float32(radius * 0.6)).astype(np.int32) % 512])
        put(self.polish, form.polish)
        put(self.owner, np.uint8(owner))
        rust, mottle = self._rust(part, u.shape, radius, rng)
        put(self.rust, rust)
        put(self.mottle, mottle)
        put(self.scratch, self._scratches(part, (x - left, y - top, radius), u.shape, rng))
        put(self.height, height)

    def _rust(
        self, part: Part, shape: tuple[int, ...], radius: float, rng: np.random.Generator
    ) -> tuple[Field | float, Field | float]:
        if part.defect != "rust":
            return 0.0, 0.0
        window = (shape[0], shape[1])
        cells = max(1.5, min(window) / radius * 2.2)
        noise = shading.smooth_noise(rng, window, cells)
        noise += np.float32(0.4) * shading.smooth_noise(rng, window, cells * 2.6)
        # The threshold is a quantile: every rusty part is visibly rusty and visibly metal.
        level = np.float32(np.quantile(noise[::4, ::4], rng.uniform(0.5, 0.68)))
        rust = np.clip((noise - level) * 4 + 0.5, 0, 1)
        return rust, shading.smooth_noise(rng, window, cells * 4)

    def _scratches(
        self,
        part: Part,
        place: tuple[float, float, float],
        shape: tuple[int, ...],
        rng: np.random.Generator,
    ) -> Field | float:
        if part.defect != "scratch":
            return 0.0
        x, y, radius = place
        drawn = np.zeros(shape, np.float32)
        lean = rng.uniform(0, np.pi)
        width = max(2, round(radius * 0.022))
        for _ in range(int(rng.integers(2, 5))):
            turn = lean + rng.normal(0, 0.35)
            along = np.array([np.cos(turn), np.sin(turn)])
            across = np.array([-along[1], along[0]]) * rng.uniform(-0.75, 0.75)
            reach = rng.uniform(0.35, 0.9)
            steps = np.linspace(-reach, reach, 5)[:, None]
            points = steps * along + across + rng.normal(0, 0.025, (5, 2))
            line = np.round(points * radius + (x, y)).astype(np.int32)
            cv2.polylines(drawn, [line + width], False, -0.7, width)
            cv2.polylines(drawn, [line], False, 1.0, width)
        return shading.blur(drawn, 0.7)

    def visible(self) -> tuple[npt.NDArray[np.intp], Field, npt.NDArray[np.bool_]]:
        """Project the map onto the picture.

        Returns:
            For each pixel of the frame the flat index of the map point seen there, the height of
            what is seen, and whether it is a side wall.
        """
        frame, side = self.frame, self.side
        height = self.height[side:, side : side + frame]
        rise = np.zeros((frame, frame), np.int32)
        layers = min(int(height.max() * TILT), height.shape[0] - frame)
        for layer in range(1, layers + 1):
            covered = height[layer : layer + frame] >= np.float32(layer / TILT)
            np.copyto(rise, layer, where=covered)
        rows, columns = np.ogrid[0:frame, 0:frame]
        index = (rows + rise + side) * self.height.shape[1] + columns + side
        top = self.height.ravel().take(index)
        level = (rise + 1).astype(np.float32) / np.float32(TILT)
        wall = top > level + 1.5
        return index, np.minimum(top, level), wall
