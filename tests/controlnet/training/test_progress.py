import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from controlnet.training.progress import ProgressBar


def told(steps, every, *, terminal):
    """What is written while a training of 40 steps, which begins at its tenth, does some."""
    console = Console(file=io.StringIO(), width=120, force_terminal=terminal, color_system=None)
    bar = ProgressBar(console, 40, every)
    trainer = SimpleNamespace(global_step=10, callback_metrics={"loss": 0.125})
    bar.on_train_start(trainer, None)
    for step in steps:
        trainer.global_step = step
        bar.on_train_batch_end(trainer, None, None, None, 0)
    bar.teardown(trainer, None, "fit")
    return console.file.getvalue()


@pytest.mark.parametrize(("steps", "lines"), [(range(11, 31), [20, 30]), (range(38, 41), [40]), ([10, 10], [])])
def test_a_file_gets_a_line_every_so_many_steps_and_one_for_the_last(steps, lines):
    text = told(steps, 10, terminal=False)
    assert [line.split(",")[0] for line in text.splitlines()] == [f"step {step} of 40" for step in lines]
    assert text.count("loss 0.1250") == len(lines)


def test_a_terminal_gets_step_of_steps_and_loss():
    text = told([11, 12], 10, terminal=True)
    assert "12/40 loss 0.1250" in text
