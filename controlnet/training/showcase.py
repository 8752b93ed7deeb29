"""The pictures of the documentation: what the shipped model makes of maps, and of edges of real photographs."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from controlnet.annotators import find
from controlnet.evaluation.metrics import CANNY
from controlnet.generate import generate
from controlnet.pipeline import Control, ImageSpec, Pipeline
from controlnet.pixels import tile, to_hint
from controlnet.training.data import Bytes

PROMPTS = (
    "{} copper {} on a green bench",
    "{} steel {} on a blue bench",
    "{} brass {} on a dark bench",
    "{} rusty steel {} on a light bench",
)


def square(photo: Bytes, top: int, left: int, side: int, size: int = 128) -> Bytes:
    """Cut a square out of a photograph, grey [H, W] or [H, W, 3], and resize it to [size, size, 3]."""
    cut = photo[top : top + side, left : left + side]
    cut = np.repeat(cut[..., None], 3, axis=2) if cut.ndim == 2 else cut[..., :3]
    return np.asarray(cv2.resize(np.ascontiguousarray(cut), (size, size), interpolation=cv2.INTER_AREA), np.uint8)


def edges_of(photo: Bytes, blur: float = 0.0) -> Bytes:
    """Return the canny map of a picture [H, W, 3], which may be blurred before: film grain has edges too."""
    if blur:
        photo = np.asarray(cv2.GaussianBlur(photo, (0, 0), blur), np.uint8)
    return find("canny")(photo, CANNY)


def rows_of_samples(
    pipeline: Pipeline, control: str, maps: Sequence[Bytes], texts: Sequence[Sequence[str]], seed: int = 0
) -> list[Bytes]:
    """Return, for each map, the map and one sample a text (20 steps, guidance 3), in one list."""
    pictures: list[Bytes] = []
    for hint, prompts in zip(maps, texts, strict=True):
        shared = to_hint(hint)
        specs = [
            ImageSpec(
                text,
                hint.shape[1],
                hint.shape[0],
                guidance=3.0,
                seed=seed + place,
                controls=(Control(control, shared),),
            )
            for place, text in enumerate(prompts)
        ]
        pictures += [hint, *generate(pipeline, specs)]
    return pictures


def texts_for(count: str, noun: str) -> list[str]:
    """Return the same things in four materials on four benches."""
    return [prompt.format(count, noun) for prompt in PROMPTS]


def save(file: Path, pictures: Sequence[Bytes], columns: int, scale: int = 1) -> None:
    """Write pictures as one PNG, enlarged by a whole number."""
    grid = tile(pictures, columns)
    grid = np.asarray(grid.repeat(scale, axis=0).repeat(scale, axis=1), np.uint8)
    file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), cv2.cvtColor(grid, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 9])
