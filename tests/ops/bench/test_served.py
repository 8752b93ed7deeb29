"""The measurement of the library's own pipeline, on the demo and a CPU: that it runs and keeps what it prints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ops.bench.served import Line, Served, main


def test_it_prints_and_keeps_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = ["--model", "demo", "--device", "cpu", "--rows", "2", "--steps", "3", "--repeats", "1"]
    assert main([*few, "--out", str(tmp_path)]) == 0
    kept = (tmp_path / "gpu-served.md").read_text()
    assert "| the demo at float32, 256 px: rows of a step | ms | TFLOP/s |" in kept
    assert capsys.readouterr().out.strip() in kept
    assert "One image of 3 steps takes" in kept


def test_the_most_rows_say_how_many_images_came_at_once() -> None:
    served = Served("a model", 512, 20, [Line(32, 148, 232), Line(2, 38, 56)], alone=0.8, together=4.95)
    assert served.markdown().strip().endswith("One image of 20 steps takes 0.8 s; 16 at once, 4.95 a second.")


def test_a_gpu_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(SystemExit):
        main([])
    assert "no CUDA device here; --device cpu --model demo" in capsys.readouterr().err
