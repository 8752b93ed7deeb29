"""The converter itself, in this process: `weights_only` keeps it safe, the child keeps us safe from it."""

import pickle
import runpy
import sys
from collections import OrderedDict
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import load_file

from controlnet.checkpoint import unpickle
from controlnet.checkpoint.unpickle import load, main

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(3, dtype=torch.int64)}

WRAPPINGS = {
    "plain": STATE,
    "ordered": OrderedDict(STATE),
    "nested": {"state_dict": STATE, "epoch": 3, "global_step": 100},
    "doubled": {"state_dict": {"state_dict": STATE}},
}


def assert_same(state: dict[str, torch.Tensor]) -> None:
    assert state.keys() == STATE.keys()
    assert all(torch.equal(state[key], STATE[key]) and state[key].dtype == STATE[key].dtype for key in STATE)


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_a_state_dict_is_read_out_of_its_wrappings(tmp_path: Path, wrapping: str) -> None:
    torch.save(WRAPPINGS[wrapping], tmp_path / "x.ckpt")
    assert_same(load(tmp_path / "x.ckpt"))


def test_the_format_before_torch_1_6_is_read(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "x.pth", _use_new_zipfile_serialization=False)
    assert_same(load(tmp_path / "x.pth"))


def test_tensors_that_share_memory_are_separated(tmp_path: Path) -> None:
    whole = torch.arange(6.0)
    torch.save({"whole": whole, "alias": whole, "end": whole[4:]}, tmp_path / "x.bin")
    assert main([str(tmp_path / "x.bin"), str(tmp_path / "y.safetensors")]) == 0
    stored = load_file(tmp_path / "y.safetensors")
    assert {key: tensor.tolist() for key, tensor in stored.items()} == {
        "whole": [0, 1, 2, 3, 4, 5],
        "alias": [0, 1, 2, 3, 4, 5],
        "end": [4, 5],
    }


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ([1, 2], "it holds a list, no state dict"),
        ({}, "it holds a dict, no state dict"),
        ({"a": torch.ones(1), "epoch": 3, "step": 4}, "2 entries are not tensors: epoch, step"),
        ({"a": torch.ones(2, 2).to_sparse()}, r"a is a torch\.sparse_coo tensor"),
    ],
    ids=["list", "nothing", "numbers", "sparse"],
)
def test_what_is_no_state_dict_is_refused(tmp_path: Path, held: object, message: str) -> None:
    torch.save(held, tmp_path / "x.pt")
    with pytest.raises(ValueError, match=message):
        load(tmp_path / "x.pt")


def test_the_class_that_old_lightning_files_name_is_let_through_without_lightning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "pytorch_lightning.callbacks.model_checkpoint"
    callback = type("ModelCheckpoint", (), {"__module__": name})
    with monkeypatch.context() as stand_in:
        for package in ("pytorch_lightning", "pytorch_lightning.callbacks", name):
            stand_in.setitem(sys.modules, package, ModuleType(package))
        stand_in.setattr(sys.modules[name], "ModelCheckpoint", callback, raising=False)
        torch.save({"callbacks": {callback: {"best": 1}}, "state_dict": STATE}, tmp_path / "x.ckpt")
    before = set(sys.modules)
    assert_same(load(tmp_path / "x.ckpt"))
    assert set(sys.modules) == before


@pytest.mark.parametrize("data", [pickle.dumps(print), b"", b"no pickle"], ids=["code", "empty", "text"])
def test_a_failure_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes) -> None:
    (tmp_path / "x.pth").write_bytes(data)
    assert main([str(tmp_path / "x.pth"), str(tmp_path / "y.safetensors")]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "y.safetensors").exists()


def test_two_paths_are_needed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["x.ckpt"]) == 2
    assert capsys.readouterr().err.startswith("usage: ")


def test_it_can_be_imported_where_there_is_no_resource_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)
    assert runpy.run_path(unpickle.__file__)["main"]
