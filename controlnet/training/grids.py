"""Sample grids: what a model in training makes, as pictures to look at."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from controlnet.generate import generate
from controlnet.pipeline import Control, ImageSpec, Pipeline
from controlnet.training.data import Bytes, Pictures, to_hint
from controlnet.training.measure import canny_f1, edges, psnr
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


def tile(pictures: Sequence[Bytes], columns: int) -> Bytes:
    """Lay [H, W, 3] pictures out in rows of `columns`; what is missing in the last row is black."""
    blank = np.zeros_like(pictures[0])
    padded = [*pictures, *[blank] * (-len(pictures) % columns)]
    rows = [np.concatenate(padded[i : i + columns], axis=1) for i in range(0, len(padded), columns)]
    return np.concatenate(rows, axis=0)


def to_bytes(images: Tensor) -> list[Bytes]:
    """Turn [B, 3, H, W] in [-1, 1] into pictures [H, W, 3]."""
    levels = (images.float().clamp(-1, 1) * 127.5 + 127.5).round().to(torch.uint8)
    return list(levels.permute(0, 2, 3, 1).cpu().numpy())


@torch.no_grad()
def reconstructions(vae: VAE, images: Tensor) -> tuple[Bytes, dict[str, float]]:
    """Show pictures [B, 3, H, W] over their reconstructions, and measure these."""
    device = next(vae.parameters()).device
    decoded = [vae.decode(vae.encode(part.to(device)).mode()).cpu() for part in torch.split(images, 8)]
    true, made = to_bytes(images), to_bytes(torch.cat(decoded))
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
