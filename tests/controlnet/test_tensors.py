"""Files of tensors: their mode, their header, and what is left where one can't be written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from controlnet.tensors import write_tensors

STATE = {"a": torch.arange(3.0)}


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o007, 0o660)])
def test_the_mode_is_that_of_any_new_file(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write_tensors(STATE, tmp_path / "x.safetensors")
    finally:
        os.umask(before)
    assert (tmp_path / "x.safetensors").stat().st_mode & 0o777 == mode


def test_the_header_holds_the_texts(tmp_path: Path) -> None:
    write_tensors(STATE, tmp_path / "x.safetensors", {"title": "gears"})
    with safe_open(tmp_path / "x.safetensors", framework="pt") as opened:
        assert opened.metadata() == {"format": "pt", "title": "gears"}
        assert torch.equal(opened.get_tensor("a"), STATE["a"])


def test_a_file_whose_tensors_are_in_use_may_be_replaced(tmp_path: Path) -> None:
    """They are mapped: a file that is cut meanwhile ends the process."""
    file = tmp_path / "x.safetensors"
    write_tensors({"a": torch.arange(1 << 16)}, file)
    mapped = load_file(file)["a"]
    write_tensors({"a": mapped + 1}, file)
    assert torch.equal(load_file(file)["a"], mapped + 1)


def test_what_was_there_stays_where_the_new_one_can_not_be_written(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    write_tensors(STATE, file)
    with pytest.raises(ValueError, match="contiguous"):
        write_tensors({"a": torch.zeros(2, 3).T}, file)
    assert torch.equal(load_file(file)["a"], STATE["a"])


def test_nothing_is_left_of_what_can_not_be_written(tmp_path: Path) -> None:
    strided: dict[str, Tensor] = {"a": torch.zeros(2, 3).T}
    with pytest.raises(ValueError, match="contiguous"):
        write_tensors(strided, tmp_path / "x.safetensors")
    assert list(tmp_path.iterdir()) == []
