"""A contact sheet: one kind a row, many materials and benches, and the maps at the right."""

import dataclasses

import cv2
import numpy as np
import numpy.typing as npt

from controlnet.parts.render import render
from controlnet.parts.scene import BENCHES, DEFECTS, KINDS, MATERIALS, Scene, sample_scene

_COLUMNS = 8


def _portrait(kind: str, row: int, column: int) -> Scene:
    """A scene of one part whose material, bench and defect step through all their values."""
    scene = next(
        scene
        for scene in map(sample_scene, range(1000 * row + 100 * column, 10**9))
        if not scene.close_up and len(scene.parts) == 1 and scene.parts[0].kind == kind and scene.parts[0].radius > 0.32
    )
    defect = DEFECTS[(0, 0, 1, 0, 2, 0, 1, 2)[column]]
    material = MATERIALS[(row + column) % 4]
    bench = BENCHES[(row * 3 + column * 3 + column // 4) % 4]
    part = dataclasses.replace(scene.parts[0], material=material, defect=defect, variant=column)
    return dataclasses.replace(scene, parts=(part,), bench=bench)


def _with_maps(scene: Scene, size: int) -> list[npt.NDArray[np.uint8]]:
    rendering = render(scene, size)
    edges = np.asarray(cv2.Canny(rendering.image, 60, 140), np.uint8)
    return [
        rendering.image,
        np.repeat(edges[..., None], 3, axis=2),
        np.repeat(rendering.depth[..., None], 3, axis=2),
        rendering.segmentation,
    ]


def contact_sheet(size: int = 128) -> npt.NDArray[np.uint8]:
    """Draw the sheet, RGB: a row for each kind, then two rows of scenes as training sees them."""
    rows = []
    for row, kind in enumerate(KINDS):
        scenes = [_portrait(kind, row, column) for column in range(_COLUMNS)]
        pictures = [render(scene, size).image for scene in scenes[:-1]]
        rows.append(np.hstack([*pictures, *_with_maps(scenes[-1], size)]))
    sampled = (sample_scene(seed) for seed in range(10**9))
    several = (scene for scene in sampled if len(scene.parts) > 1)
    close = (scene for scene in map(sample_scene, range(10**9)) if scene.close_up)
    for scenes_of in (several, several, close):
        row_scenes = [next(scenes_of) for _ in range(_COLUMNS)]
        pictures = [render(scene, size).image for scene in row_scenes[:-1]]
        rows.append(np.hstack([*pictures, *_with_maps(row_scenes[-1], size)]))
    return np.vstack(rows).astype(np.uint8)
