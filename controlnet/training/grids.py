"""Sample grids: what a model in training makes, as pictures to look at."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from controlnet.annotators import namesake
from controlnet.evaluation.metrics import canny_f1, edges, psnr
from controlnet.evaluation.sampling import reconstruct
from controlnet.generate import generate
from controlnet.pipeline import Control, ImageSpec, Pipeline
from controlnet.pixels import Bytes, tile, to_hint
from controlnet.training.data import Pictures
from controlnet.vae import VAE

PROMPTS = (
    "a brass gear on a blue bench",
    "a steel gear on a dark bench",
    "a copper washer on a light bench",
    "a steel nut on a blue bench",
    "a rusty steel bracket on a green bench",
    "a steel bearing on a blue bench",
    "a brass bolt on a light bench",
    "four copper discs on a dark bench",
    "a scratched black plate on a green bench",
    "a copper gear on a green bench",
    "two brass nuts on a blue bench",
    "a close-up of a brass bearing on a dark bench",
)


@dataclass(frozen=True)
class Shown:
    """Pictures that a control is shown with, each with its map and prompt.

    Attributes:
        true: [H, W, 3] each.
        hints: maps, likewise.
        prompts: words.
    """

    true: Sequence[Bytes]
    hints: Sequence[Bytes]
    prompts: Sequence[str]

    @classmethod
    def of(cls, pictures: Pictures, count: int = 8) -> Self:
        """The first pictures."""
        rng, indices = np.random.default_rng(0), range(min(count, len(pictures)))
        return cls(
            [pictures.image(i) for i in indices],
            [pictures.hint(i, rng) for i in indices],
            [pictures.captions(i)[0] for i in indices],
        )


def reconstructions(vae: VAE, true: Sequence[Bytes], split: str) -> tuple[Bytes, dict[str, float]]:
    """Show pictures [H, W, 3] over their reconstructions, and measure these.

    Args:
        vae: reconstructs.
        true: the pictures.
        split: which ones they are, `held_out` or `train`; ends the metrics' names.
    """
    made = reconstruct(vae, true)
    metrics = {
        f"psnr_{split}": float(np.mean([psnr(a, b) for a, b in zip(made, true, strict=True)])),
        f"canny_f1_{split}": float(np.mean([canny_f1(edges(a), edges(b)) for a, b in zip(made, true, strict=True)])),
    }
    return tile([*true[:8], *made[:8], *true[8:16], *made[8:16]], 8), metrics


def prompts(pipeline: Pipeline, texts: Sequence[str] = PROMPTS) -> Bytes:
    """Show one sample a prompt: guidance 3, 12 steps of DPM-Solver++."""
    size = 32 * pipeline.architecture.multiple // 8
    specs = [
        ImageSpec(text, size, size, steps=12, guidance=3.0, seed=seed, sampler="dpmpp_2m")
        for seed, text in enumerate(texts)
    ]
    return tile(generate(pipeline, specs), 6)


def controlled(pipeline: Pipeline, name: str, shown: Shown, split: str) -> tuple[Bytes, dict[str, float]]:
    """Show pictures, their maps and one sample a map under guidance 3.

    How well a map is followed is measured for `canny` alone, by edges: who makes the maps of others is not known here.

    Args:
        pipeline: with the control.
        name: of the control.
        shown: pictures and maps.
        split: which ones they are, `held_out` or `train`; ends the metric's name.
    """
    specs = [
        ImageSpec(
            prompt,
            hint.shape[1],
            hint.shape[0],
            steps=12,
            guidance=3.0,
            seed=seed,
            sampler="dpmpp_2m",
            controls=(Control(name, to_hint(hint)),),
        )
        for seed, (prompt, hint) in enumerate(zip(shown.prompts, shown.hints, strict=True))
    ]
    made = generate(pipeline, specs)
    followed = [canny_f1(edges(a), edges(b)) for a, b in zip(made, shown.true, strict=True)]
    metrics = {f"canny_f1_{split}": float(np.mean(followed))} if namesake(name) == "canny" else {}
    return tile([*shown.true, *shown.hints, *made], len(shown.true)), metrics
