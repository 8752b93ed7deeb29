from __future__ import annotations

import torch

from controlnet.evaluation.judge import SIDE
from controlnet.evaluation.train_judge import fit, worn


def test_a_judge_learns_what_its_pictures_show() -> None:
    grey = torch.arange(4).repeat(2) * 80  # four brightnesses stand for four materials
    images = grey.to(torch.uint8)[:, None, None, None].expand(8, 3, SIDE, SIDE).contiguous()
    answers = torch.stack([grey // 80, grey // 80, torch.zeros(8, dtype=torch.long)], dim=1)
    judge = fit(images, images[:0], answers, epochs=20, batch=4, rate=1e-2)
    seen = judge.verdicts([image.permute(1, 2, 0).numpy() for image in images])
    assert (seen["material"] == answers[:, 1].numpy()).mean() >= 0.75


def test_the_same_seed_spoils_pictures_the_same_way() -> None:
    images = torch.rand(4, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    first, again = (worn(images, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first, again)
    assert first.shape == images.shape
    assert first.abs().max() <= 1
    assert not torch.equal(first, images)
