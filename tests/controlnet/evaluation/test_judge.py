from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pytest
import torch

from controlnet.evaluation.judge import QUESTIONS, SIDE, WEIGHTS, Judge, split
from controlnet.evaluation.scenes import Case, find_seeds, render_cases, single_held_out


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge.load()


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return list(render_cases(find_seeds(100, single_held_out), SIDE))


@pytest.fixture(scope="module")
def verdicts(judge: Judge, cases: list[Case]) -> Mapping[str, npt.NDArray[np.int64]]:
    return judge.verdicts([case.image for case in cases])


@pytest.mark.parametrize(("question", "floor"), [("part", 0.98), ("material", 0.98), ("defect", 0.9)])
def test_it_is_right_about_real_held_out_renders(
    verdicts: Mapping[str, npt.NDArray[np.int64]], cases: list[Case], question: str, floor: float
) -> None:
    truth = [case.truth[question] for case in cases]
    assert np.mean(verdicts[question] == truth) >= floor


def test_it_is_small_enough_to_ship() -> None:
    assert WEIGHTS.stat().st_size < 500_000


def test_a_verdict_does_not_depend_on_the_pictures_beside_it(judge: Judge, cases: list[Case]) -> None:
    pictures = [case.image for case in cases[:5]]
    together, apart = judge.verdicts(pictures), judge.verdicts(pictures, batch=1)
    assert all((together[question] == apart[question]).all() for question in QUESTIONS)


def test_pictures_of_other_sizes_are_resized(judge: Judge) -> None:
    seen = judge.verdicts([np.zeros((96, 96, 3), np.uint8), np.zeros((256, 256, 3), np.uint8)])
    assert {len(found) for found in seen.values()} == {2}


def test_logits_are_cut_by_question() -> None:
    cut = split(torch.arange(15.0)[None])
    assert [len(logits[0]) for logits in cut.values()] == [8, 4, 3]
    assert cut["defect"][0].tolist() == [12, 13, 14]
