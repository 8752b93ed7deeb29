"""Sample grids: what a model in training makes, as pictures to look at."""

from collections.abc import Sequence

import numpy as np

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


def reconstructions(vae: VAE, true: Sequence[Bytes]) -> tuple[Bytes, dict[str, float]]:
    """Show pictures [H, W, 3] over their reconstructions, and measure these."""
    made = reconstruct(vae, true)
    metrics = {
        "psnr": float(np.mean([psnr(a, b) for a, b in zip(made, true, strict=True)])),
        "canny_f1": float(np.mean([canny_f1(edges(a), edges(b)) for a, b in zip(made, true, strict=True)])),
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


def controlled(pipeline: Pipeline, name: str, pictures: Pictures, count: int = 8) -> tuple[Bytes, dict[str, float]]:
    """Show pictures, their maps and one sample a map under guidance 3, and measure how well the map is followed."""
    rng = np.random.default_rng(0)
    true = [pictures.image(i) for i in range(min(count, len(pictures)))]
    hints = [pictures.hint(i, rng) for i in range(len(true))]
    specs = [
        ImageSpec(
            pictures.captions(i)[0],
            true[i].shape[1],
            true[i].shape[0],
            steps=12,
            guidance=3.0,
            seed=i,
            sampler="dpmpp_2m",
            controls=(Control(name, to_hint(hint)),),
        )
        for i, hint in enumerate(hints)
    ]
    made = generate(pipeline, specs)
    metrics = {"canny_f1": float(np.mean([canny_f1(edges(a), edges(b)) for a, b in zip(made, true, strict=True)]))}
    return tile([*true, *hints, *made], len(true)), metrics
