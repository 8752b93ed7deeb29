"""A small classifier that looks at one picture of one part: what it is, of what, and what is wrong with it.

It saw every combination of part, material and bench (`train_judge`), unlike the models it judges: an instrument that
had a blind spot where they have theirs would measure nothing. How often it is right on real renders stands in every
report. It has to choose, so it flatters: a poor gear that looks like nothing else is a gear to it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from controlnet.annotators import resize
from controlnet.annotators.annotator import Picture
from controlnet.parts import DEFECTS, KINDS, MATERIALS
from controlnet.pixels import to_tensor

WEIGHTS = Path(__file__).parent / "judge.safetensors"
SIDE = 128
"""Pixels of a side of what the judge looks at; pictures of other sizes are resized."""

QUESTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType({"part": KINDS, "material": MATERIALS, "defect": DEFECTS})
"""What the judge is asked, and the answers it has."""

WIDTHS = (16, 32, 64, 80)


class Block(nn.Module):
    """Halve the resolution, then look once more: [B, before, H, W] to [B, width, H/2, W/2]."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.down = nn.Sequential(
            nn.Conv2d(before, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        self.more = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, width, H/2, W/2]."""
        x = self.down(x)
        return F.relu(x + self.more(x))


class Judge(nn.Module):
    """Pictures [B, 3, 128, 128] in [-1, 1] to logits [B, 8 + 4 + 3] of all questions side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(Block(before, width) for before, width in zip((3, *WIDTHS), WIDTHS, strict=False))
        )
        # The mean says what most of the part is, the maximum whether there is a scratch somewhere.
        self.answers = nn.Linear(2 * WIDTHS[-1], sum(map(len, QUESTIONS.values())))

    @classmethod
    def load(cls, file: Path = WEIGHTS) -> "Judge":
        """The judge that is shipped, or another one that `train_judge` wrote."""
        judge = cls().requires_grad_(False).eval()
        judge.load_state_dict({name: weight.float() for name, weight in load_file(file).items()})
        return judge

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [B, 15]."""
        seen = self.blocks(images)
        logits: Tensor = self.answers(torch.cat([seen.mean((2, 3)), seen.amax((2, 3))], dim=1))
        return logits

    @torch.inference_mode()
    def verdicts(self, pictures: Sequence[Picture], batch: int = 64) -> dict[str, npt.NDArray[np.int64]]:
        """Answer every question about every picture.

        Args:
            pictures: [H, W, 3] of any size.
            batch: pictures at a time.

        Returns:
            By question, [N] indices into its answers.
        """
        images = [to_tensor(resize(picture, SIDE, SIDE)) for picture in pictures]
        logits = [self(torch.stack(images[i : i + batch])) for i in range(0, len(images), batch)]
        by_question = split(torch.cat(logits))
        return {name: answers.argmax(1).numpy() for name, answers in by_question.items()}


def split(logits: Tensor) -> dict[str, Tensor]:
    """Cut logits [B, 15] into those of each question, [B, answers]."""
    parts = torch.split(logits, [len(answers) for answers in QUESTIONS.values()], dim=1)
    return dict(zip(QUESTIONS, parts, strict=True))
