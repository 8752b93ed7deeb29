"""A training that is told to stop, is killed, or finds a broken checkpoint."""

import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from typer.testing import CliRunner

from controlnet.cli import app
from controlnet.training.checkpoints import MINUTES, Keep, check
from controlnet.training.run import train
from controlnet.training.store import read_weights, replacing
from tests.controlnet.training.conftest import TINY

STOPPED = """
import sys
from controlnet.cli import app
from controlnet.training.draws import StepSeed

seed = StepSeed.on_train_batch_start

def wait(self, trainer, *rest):
    seed(self, trainer, *rest)
    if trainer.global_step == 2:
        print("in the third step", flush=True)
        sys.stdin.readline()

StepSeed.on_train_batch_start = wait
app(["train", *sys.argv[1:]])
"""
"""A training that waits in its third step until it is told to go on: the signal comes meanwhile."""


@pytest.fixture(scope="module")
def common(parts_folder):
    quick = ["crop=16", "steps=5", "threads=1", "hold=0.2", "log_every=1", "workers=0"]
    return ["stage=vae", *TINY, f"data.train={parts_folder}", *quick]


@pytest.fixture(scope="module")
def whole(common, tmp_path_factory):
    return train([*common, f"folder={tmp_path_factory.mktemp('whole')}"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_interrupted_and_goes_on_ends_as_if_it_had_not_been(number, common, whole, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPED, *common, f"folder={tmp_path}"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "400"},
    )  # fmt: skip
    assert process.stdout
    try:
        while "in the third step" not in (line := process.stdout.readline()):
            assert line, "it ended before its third step"
        process.send_signal(number)
        output, _ = process.communicate("\n", timeout=240)
    finally:
        process.kill()
    assert process.returncode == 128 + number
    last = tmp_path / "vae" / "last.ckpt"
    assert f"Stopped after step 3 of 5, which {last} holds: the same command again goes on from there." in output
    assert torch.load(last, weights_only=True)["global_step"] == 3
    assert not (tmp_path / "vae" / "weights.safetensors").exists()

    resumed = train([*common, f"folder={tmp_path}"])
    wanted = read_weights(whole, "vae")
    assert all(torch.equal(weight, wanted[key]) for key, weight in read_weights(resumed, "vae").items())


def test_what_an_interrupted_run_measured_stays_beside_what_the_next_one_does(common, tmp_path):
    train([*common, f"folder={tmp_path}", "steps=2"])
    folder = train([*common, f"folder={tmp_path}", "steps=3"])
    steps = [(folder / name).read_text().count("\n") - 1 for name in ("metrics-1.csv", "metrics.csv")]
    assert steps[0] >= 2
    assert steps[1] >= 1


class Trainer(SimpleNamespace):
    """One process, and which steps it kept."""

    def __init__(self):
        super().__init__(global_step=0, should_stop=False, kept=[])
        self.strategy = SimpleNamespace(broadcast=lambda value: value)

    def save_checkpoint(self, file):
        self.kept.append(self.global_step)


@pytest.fixture
def signals():
    """Handlers are the process's; a fit gives them back, and here is none."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def clock():
    return {"now": 0.0}


@pytest.fixture
def keep(clock, signals, tmp_path):
    return Keep(tmp_path / "last.ckpt", steps=3, clock=lambda: clock["now"])


def run(keep, trainer, steps):
    for step in steps:
        trainer.global_step = step
        keep.on_train_batch_end(trainer, None, None, None, 0)


def test_a_checkpoint_is_written_every_so_many_steps(keep):
    trainer = Trainer()
    keep.on_train_start(trainer, None)
    run(keep, trainer, range(1, 8))
    assert trainer.kept == [3, 6]


def test_a_checkpoint_is_written_after_some_minutes_whatever_the_steps(keep, clock):
    trainer = Trainer()
    keep.on_train_start(trainer, None)
    run(keep, trainer, [1])
    clock["now"] += 60 * MINUTES
    run(keep, trainer, [2])
    run(keep, trainer, [4])
    assert trainer.kept == [2]


def test_no_checkpoint_is_written_between_batches_of_one_step(keep, clock):
    trainer = Trainer()
    keep.on_train_start(trainer, None)
    clock["now"] += 60 * MINUTES
    run(keep, trainer, [0, 0])
    assert not trainer.kept


def test_a_second_interrupt_does_not_wait(keep):
    trainer = Trainer()
    keep.on_train_start(trainer, None)
    os.kill(os.getpid(), signal.SIGINT)
    run(keep, trainer, [1])
    assert trainer.should_stop
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupt_that_does_not_wait_is_told_without_a_traceback(common, tmp_path, monkeypatch):
    monkeypatch.setattr("controlnet.training.run.make_stage", lambda config: (_ for _ in ()).throw(KeyboardInterrupt))
    result = CliRunner().invoke(app, ["train", *common, f"folder={tmp_path}"])
    assert result.exit_code == 130
    assert "the same command again goes on" in result.output


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    file = tmp_path / "a"
    file.write_text("sound")

    def fill():
        with replacing(file) as part:
            part.write_text("ha")
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        fill()
    assert file.read_text() == "sound"
    with replacing(file) as part:
        part.write_text("new")
    assert file.read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.999])
def test_a_checkpoint_that_was_cut_short_is_told_with_a_way_on(share, common, whole, tmp_path):
    folder = tmp_path / "vae"
    folder.mkdir()
    data = (whole / "last.ckpt").read_bytes()
    (folder / "last.ckpt").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ValueError, match=r"last\.ckpt is cut short or damaged: .* delete it .* from its beginning"):
        train([*common, f"folder={tmp_path}"])
    (folder / "weights.safetensors").write_bytes((whole / "weights.safetensors").read_bytes())
    with pytest.raises(ValueError, match=r"from .*vae/weights\.safetensors, which is kept"):
        train([*common, f"folder={tmp_path}"])


def test_what_is_something_else_is_no_checkpoint(tmp_path):
    torch.save([1], tmp_path / "last.ckpt")
    with pytest.raises(ValueError, match="cut short or damaged"):
        check(tmp_path / "last.ckpt", {}, {}, "", "muon")


def test_weights_that_were_cut_short_are_told(common, whole, tmp_path):
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "weights.safetensors").write_bytes((whole / "weights.safetensors").read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"weights\.safetensors is cut short or damaged: delete it"):
        train([*common, f"folder={tmp_path}"])


@pytest.mark.parametrize(
    ("override", "what"), [("optimizer=adamw", "optimizer"), ("architecture.vae.channels=12", "architecture")]
)
def test_a_checkpoint_of_something_else_is_refused_before_the_work(override, what, common, whole):
    with pytest.raises(ValueError, match=rf"last\.ckpt was trained with another {what}: .* another folder="):
        train([*common, f"folder={whole.parent}", override])


def test_weights_of_another_architecture_are_refused(common, whole, tmp_path):
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "weights.safetensors").write_bytes((whole / "weights.safetensors").read_bytes())
    with pytest.raises(ValueError, match=r"weights\.safetensors is of another architecture"):
        train([*common, f"folder={tmp_path}", "architecture.vae.channels=12"])
