"""The data set on disk."""

from pathlib import Path

import numpy as np
import pytest

from controlnet.parts.dataset import Split, read_dataset, split_seeds, write_dataset
from controlnet.parts.render import render
from controlnet.parts.scene import held_out, sample_scene


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_what_is_written_is_read_back(tmp_path: Path, split: Split) -> None:
    write_dataset(tmp_path / "set", 3, seed=40, size=32, workers=1, split=split)
    data = read_dataset(tmp_path / "set")
    assert len(data) == len(data.captions) == 3
    for row, seed in enumerate(data.seeds):
        expected = render(sample_scene(seed), 32)
        np.testing.assert_array_equal(data.images[row], expected.image)
        np.testing.assert_array_equal(data.materials[row], expected.materials)
        np.testing.assert_array_equal(data.depth[row], expected.depth)
        np.testing.assert_array_equal(data.segmentation[row], expected.segmentation)
        assert held_out(sample_scene(seed)) == (split == "held_out")


def test_the_splits_share_no_seed_and_leave_none_out() -> None:
    train, rest = split_seeds(60, 0, "train"), split_seeds(20, 0, "held_out")
    last = min(train[-1], rest[-1])
    assert sorted(s for s in train + rest if s <= last) == list(range(last + 1))
