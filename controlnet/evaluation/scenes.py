"""What a model is asked to draw: scenes it never saw, in words, as pictures and as maps."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count as counter
from itertools import islice

import numpy as np
import numpy.typing as npt

from controlnet.annotators.annotator import Picture
from controlnet.evaluation.judge import QUESTIONS
from controlnet.parts import Scene, held_out, sample_scene
from controlnet.parts.dataset import captions_of, rendered

FIRST_SEED = 900_000
"""Training takes seeds from 0; nothing it draws comes near."""


@dataclass(frozen=True, eq=False)
class Case:
    """One scene to draw.

    Attributes:
        seed: of the scene, and of the noise that its samples start from.
        scene: what lies where.
        prompt: the first of its captions.
        image: the true picture, [H, W, 3] RGB.
        mask: [H, W], True on parts.
    """

    seed: int
    scene: Scene
    prompt: str
    image: Picture
    mask: npt.NDArray[np.bool_]

    @property
    def truth(self) -> Mapping[str, int]:
        """The right answer to each question about a scene of one part."""
        (part,) = self.scene.parts
        named = {"part": part.kind, "material": part.material, "defect": part.defect}
        return {question: answers.index(named[question]) for question, answers in QUESTIONS.items()}


def single(scene: Scene) -> bool:
    """Whether a scene shows one whole part: only such pictures have one material, one kind and one defect."""
    return len(scene.parts) == 1 and not scene.close_up


def find_seeds(count: int, belongs: Callable[[Scene], bool], first: int = FIRST_SEED) -> list[int]:
    """Return the first `count` seeds from `first` on whose scenes belong."""
    return list(islice((seed for seed in counter(first) if belongs(sample_scene(seed))), count))


def render_cases(seeds: Sequence[int], size: int, workers: int = 1) -> Iterator[Case]:
    """Render scenes one after the other; the same seeds and size always give the same bytes."""
    for seed, rendering in zip(seeds, rendered(seeds, size, workers), strict=True):
        yield Case(seed, sample_scene(seed), captions_of(seed)[0], rendering.image, rendering.mask)


def single_held_out(scene: Scene) -> bool:
    """Whether a scene shows one whole part in a combination that training never sees."""
    return single(scene) and held_out(scene)


def other_held_out(scene: Scene) -> bool:
    """Whether a scene shows several parts, or one cropped by the frame, one at least in such a combination."""
    return not single(scene) and held_out(scene)


def single_seen(scene: Scene) -> bool:
    """Whether a scene shows one whole part in a combination that training sees, at a seed that it doesn't."""
    return single(scene) and not held_out(scene)
