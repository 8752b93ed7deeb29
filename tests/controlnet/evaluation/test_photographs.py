from __future__ import annotations

import sys

import numpy as np
import pytest

from controlnet.evaluation.evaluate import Evaluation
from controlnet.evaluation.photographs import PROMPTS, load_photographs


def test_the_photographs_are_there_without_a_download() -> None:
    photographs = load_photographs()
    assert len(photographs) == 5
    assert all(picture.dtype == np.uint8 and picture.shape[2] == 3 for picture in photographs.values())


def test_without_scikit_image_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(ModuleNotFoundError, match="pip install scikit-image"):
        load_photographs()


def test_a_photograph_is_followed_at_twice_the_native_size(evaluation: Evaluation) -> None:
    (photograph,) = evaluation.photographs
    assert photograph.image.shape == photograph.map.shape == (64, 88, 3)  # of 48 x 64, in multiples of 8
    assert [picture.shape for picture in (*photograph.samples, *photograph.free)] == [(64, 88, 3)] * 4
    assert (photograph.samples[0] != photograph.free[0]).any()
    assert photograph.prompts == PROMPTS["coins"]
    assert 0 <= photograph.f1_free <= 1
