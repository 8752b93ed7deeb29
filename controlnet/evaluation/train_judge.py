"""Train the judge on renders, some of them through the autoencoder, and write its weights.

    python -m controlnet.evaluation.train_judge

It takes about ten minutes of two quiet cores. Its scenes come from seeds of their own, so no evaluation shows it a
picture that it has learned.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.nn import functional as F

from controlnet.annotators.annotator import Picture
from controlnet.bundle import DEMO
from controlnet.evaluation.judge import QUESTIONS, SIDE, WEIGHTS, Judge, split
from controlnet.evaluation.sampling import reconstruct
from controlnet.evaluation.scenes import Case, find_seeds, render_cases, single
from controlnet.layout import channels_last
from controlnet.pipeline import Pipeline
from controlnet.tensors import write_tensors

FIRST_SEED = 2_000_000
"""Training of models takes seeds from 0, evaluation from 900,000."""


def answers_to(cases: Sequence[Case]) -> Tensor:
    """Return the right answers, [N, questions]."""
    return torch.tensor([[case.truth[name] for name in QUESTIONS] for case in cases])


def worn(images: Tensor, generator: torch.Generator) -> Tensor:
    """Spoil pictures [B, 3, S, S] a little, each in its own way: mirror, shift, blur, noise, brightness, tint.

    A judge that only saw perfect renders would call every trace of a network a defect.
    """
    count = len(images)

    def chance(probability: float) -> Tensor:
        return (torch.rand(count, 1, 1, 1, generator=generator) < probability).float()

    def spread(width: float, *shape: int) -> Tensor:
        return (torch.rand(shape, generator=generator) * 2 - 1) * width

    mirror = chance(0.5)
    images = mirror * images.flip(3) + (1 - mirror) * images
    down, right = (int(torch.randint(-4, 5, (), generator=generator)) for _ in range(2))
    images = F.pad(images, (4, 4, 4, 4), mode="reflect")[:, :, 4 + down : 4 + down + SIDE, 4 + right : 4 + right + SIDE]
    soft = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="reflect"), 3, stride=1)
    images = images + (soft - images) * (chance(0.4) * torch.rand(count, 1, 1, 1, generator=generator) * 0.9 - 0.1)
    noise = torch.randn(images.shape, generator=generator) * 0.03
    images = images + noise * chance(0.4)
    gain, tint = 1 + spread(0.12, count, 1, 1, 1), 1 + spread(0.04, count, 3, 1, 1)
    return (((images + 1) * gain * tint) - 1).clamp(-1, 1)


def fit(
    images: Tensor,
    reconstructed: Tensor,
    answers: Tensor,
    epochs: int,
    seed: int = 0,
    batch: int = 64,
    rate: float = 4e-3,
) -> Judge:
    """Train a judge.

    Args:
        images: [N, 3, S, S] bytes.
        reconstructed: [M, 3, S, S] bytes, M <= N: what an autoencoder makes of the first M.
        answers: [N, questions].
        epochs: passes over all images.
        seed: of everything that is left to chance.
        batch: pictures a step.
        rate: the highest learning rate of the one cycle.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    judge = channels_last(Judge().train())
    steps = epochs * (len(images) // batch)
    optimizer = torch.optim.AdamW(judge.parameters(), rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.15)
    for _ in track(range(epochs), "Training the judge"):
        order = torch.randperm(len(images), generator=generator)
        for chosen in torch.split(order, batch):
            if len(chosen) < batch:
                continue
            through = (chosen < len(reconstructed)) & (torch.rand(batch, generator=generator) < 0.6)
            seen = images[chosen]
            seen[through] = reconstructed[chosen[through]]
            shown = worn(seen.float() / 127.5 - 1, generator).contiguous(memory_format=torch.channels_last)
            by_question = split(judge(shown))
            losses = [
                F.cross_entropy(logits, answers[chosen, i], label_smoothing=0.05)
                for i, logits in enumerate(by_question.values())
            ]
            # The defect is the hard one: a scratch is a pixel wide.
            loss = losses[0] + 0.5 * losses[1] + 2 * losses[2]
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
    judge.eval()
    return judge


def _stack(pictures: Sequence[Picture]) -> Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()


def main() -> None:
    """Render, reconstruct, train, write."""
    parser = argparse.ArgumentParser(prog="python -m controlnet.evaluation.train_judge", description=main.__doc__)
    parser.add_argument("--count", type=int, default=9000, help="renders")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--bundle", type=Path, default=DEMO, help="whose autoencoder blurs a third of them")
    parser.add_argument("--output", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    console = Console()

    seeds = find_seeds(options.count, single, FIRST_SEED)
    cases = list(track(render_cases(seeds, SIDE, workers=2), "Rendering", total=len(seeds)))
    pictures = [case.image for case in cases]
    with console.status("Reconstructing a third of them"):
        blurred = reconstruct(channels_last(Pipeline.load(options.bundle).vae), pictures[: options.count // 3])
    judge = fit(_stack(pictures), _stack(blurred), answers_to(cases), options.epochs)
    write_tensors({name: weight.half().contiguous() for name, weight in judge.state_dict().items()}, options.output)
    console.print(f"{options.output}  {options.output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
