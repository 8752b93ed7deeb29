"""Edges that no renderer made: five photographs that scikit-image ships, and what a model makes of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import JsonValue

from controlnet.annotators import fit, resize, to_rgb
from controlnet.annotators.annotator import Picture
from controlnet.evaluation.metrics import canny_f1, edges
from controlnet.evaluation.sampling import Subject, sample

PROMPTS = {
    "coins": ("brass discs on a blue bench", "copper discs on a green bench"),
    "coffee": ("a close-up of a copper washer on a dark bench", "a close-up of a steel bearing on a blue bench"),
    "rocket": ("a steel bolt on a blue bench", "a brass bolt on a green bench"),
    "camera": ("a black bracket on a light bench", "several metal parts on a green bench"),
    "astronaut": ("several metal parts on a blue bench", "a copper gear on a dark bench"),
}
"""Photographs by their names in `skimage.data`, and what to make of their edges."""

SCALE = 2
"""Short side over the model's native one: coins of a few pixels have no edges to follow."""


@dataclass(frozen=True, eq=False)
class Photograph:
    """A photograph and what became of it.

    Attributes:
        name: in `skimage.data`.
        prompts: one a sample.
        image: at the size that was sampled, [H, W, 3].
        map: its control map.
        samples: of each prompt under the map, guidance 3.
        free: the same without it.
        f1: mean edge F1 of the samples.
        f1_free: the same without the map.
    """

    name: str
    prompts: Sequence[str]
    image: Picture
    map: Picture
    samples: Sequence[Picture]
    free: Sequence[Picture]
    f1: float
    f1_free: float

    def document(self) -> dict[str, JsonValue]:
        """Everything but the pictures, ready for JSON."""
        return {"name": self.name, "prompts": list(self.prompts), "f1": self.f1, "f1_no_control": self.f1_free}


def load_photographs() -> dict[str, Picture]:
    """Read the photographs of `PROMPTS` from the installed scikit-image, [H, W, 3] each.

    Raises:
        ModuleNotFoundError: it isn't installed; says how to get it.
    """
    try:
        from skimage import data
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("the photographs come with scikit-image: pip install scikit-image") from error
    return {name: to_rgb(np.asarray(getattr(data, name)(), np.uint8)) for name in PROMPTS}


def follow(subject: Subject, photographs: dict[str, Picture], seed: int = 0) -> tuple[Photograph, ...]:
    """Have a model follow the edges of photographs.

    Args:
        subject: the model.
        photographs: [H, W, 3] of any size, by names in `PROMPTS`.
        seed: of the first sample of each; the second one's is one higher.
    """
    return tuple(_follow(subject, name, picture, seed) for name, picture in photographs.items())


def _follow(subject: Subject, name: str, photograph: Picture, seed: int) -> Photograph:
    multiple = subject.pipeline.architecture.multiple
    height, width = fit(photograph.shape[0], photograph.shape[1], SCALE * subject.size, multiple=multiple)
    image = resize(photograph, height, width)
    control_map = subject.map_of(image)
    prompts = PROMPTS[name]
    specs = [
        subject.spec(text, steering, 3.0, seed + i, size=(height, width))
        for steering in (control_map, None)
        for i, text in enumerate(prompts)
    ]
    made = sample(subject, specs, f"photograph: {name}")

    def score(pictures: Sequence[Picture]) -> float:
        wanted = control_map[..., 0] > 0
        return float(np.mean([canny_f1(edges(picture, *subject.thresholds), wanted) for picture in pictures]))

    samples, free = made[: len(prompts)], made[len(prompts) :]
    return Photograph(name, prompts, image, control_map, samples, free, score(samples), score(free))
