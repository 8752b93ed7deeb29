"""Reading files: pickles never run in this process, and hostile ones not at all."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from controlnet.checkpoint import CheckpointError
from controlnet.checkpoint.read import read_state

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(3, dtype=torch.int64)}


class Trap:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (self.command,)


def assert_same(state: dict[str, torch.Tensor]) -> None:
    assert state.keys() == STATE.keys()
    assert all(torch.equal(state[key], STATE[key]) and state[key].dtype == STATE[key].dtype for key in STATE)


def test_safetensors_are_read(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "x.safetensors")
    assert_same(read_state(tmp_path / "x.safetensors"))


def test_a_malicious_checkpoint_is_refused_and_does_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    torch.save({"state_dict": STATE, "callback": Trap(f"touch {mark}")}, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match=r"x\.ckpt can't be unpickled safely: UnpicklingError: "):
        read_state(tmp_path / "x.ckpt")
    assert not mark.exists()
    # The trap is real: whoever unpickles it carelessly runs it.
    pickle.loads(pickle.dumps(Trap(f"touch {mark}")))
    assert mark.exists()


def test_a_bare_malicious_pickle_is_refused_and_does_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    (tmp_path / "x.pth").write_bytes(pickle.dumps(Trap(f"touch {mark}")))
    with pytest.raises(CheckpointError, match="can't be unpickled safely"):
        read_state(tmp_path / "x.pth")
    assert not mark.exists()


def test_a_pickled_state_dict_is_converted_by_a_child_that_sees_neither_environment_nor_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"state_dict": STATE}, tmp_path / "x.ckpt")
    monkeypatch.setattr(torch, "load", None)  # nothing is unpickled here
    (tmp_path / "torch.py").write_text("raise SystemExit(9)")  # would be imported instead of the real one
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert_same(read_state("x.ckpt"))


@pytest.mark.parametrize("data", [b"not a checkpoint at all"], ids=["text"])
def test_damaged_safetensors_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.safetensors").write_bytes(data)
    with pytest.raises(CheckpointError, match=r"x\.safetensors is not a sound safetensors file"):
        read_state(tmp_path / "x.safetensors")


@pytest.mark.parametrize("name", ["x.pkl", "x.h5", "x", "x.npz"])
def test_other_kinds_of_files_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"is none of \.safetensors, \.pth"):
        read_state(tmp_path / name)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not a file"):
        read_state(tmp_path / "x.safetensors")


def test_a_child_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match=r"could not be unpickled within 0\.01 s"):
        read_state(tmp_path / "x.ckpt", timeout_s=0.01)


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
@pytest.mark.parametrize(
    ("data", "message"),
    [(LFS, "is a pointer of Git LFS"), (b"\n<!doctype html>", "is a web page, not weights"), (b"", "is empty")],
)
def test_what_is_no_checkpoint_is_told_by_its_first_bytes(
    data: bytes, message: str, suffix: str, tmp_path: Path
) -> None:
    file = tmp_path / f"x{suffix}"
    file.write_bytes(data)
    with pytest.raises(CheckpointError, match=message):
        read_state(file)


def test_a_file_by_another_kinds_name_is_told_which_it_is(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "x.safetensors")
    save_file(STATE, tmp_path / "y.ckpt")
    with pytest.raises(CheckpointError, match=r"is a pickle by its content: call it \.ckpt"):
        read_state(tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=r"is safetensors by its content: call it \.safetensors"):
        read_state(tmp_path / "y.ckpt")


def test_a_score_of_numpys_is_passed_over(tmp_path: Path) -> None:
    """As checkpoints of SD 1.x have it in the state of a callback."""
    score = {"best": np.float64(0.5), "kind": np.dtype("f4")}
    torch.save({"state_dict": STATE, "callbacks": score}, tmp_path / "x.ckpt")
    assert read_state(tmp_path / "x.ckpt").keys() == STATE.keys()


def test_a_class_that_is_refused_is_named_and_nobody_is_told_to_trust_it(tmp_path: Path) -> None:
    torch.save({"state_dict": STATE, "callback": Trap("true")}, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match=r"it asks for posix\.system, which is neither a tensor") as caught:
        read_state(tmp_path / "x.ckpt")
    assert "weights_only" not in str(caught.value)
