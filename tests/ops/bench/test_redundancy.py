"""Nothing is computed twice, and the counters would show it if it were."""

from __future__ import annotations

import pytest
import torch

from controlnet.pipeline import Pipeline
from ops.bench import redundancy
from ops.bench.bench import Bench
from ops.bench.equality import Unequal
from ops.bench.figure import Figure
from ops.bench.redundancy import count, jobs
from ops.bench.runs import model_of
from ops.bench.subjects import Subject


@pytest.fixture(scope="module")
def figures() -> dict[str, Figure]:
    from ops.bench.subjects import tiny
    from tests.ops.bench.conftest import SMOKE

    subject = tiny()  # a pipeline that remembers no texts
    return {figure.name: figure for figure in redundancy.measure(Bench(SMOKE, subject, subject))}


@pytest.mark.parametrize("name", ["control", "unet", "guidance 1", "hints", "texts", "decode"])
def test_what_is_computed_is_what_is_needed(figures: dict[str, Figure], name: str) -> None:
    assert figures[f"C7 {name}"].value == 1.0


def test_padding_is_told_apart(figures: dict[str, Figure]) -> None:
    assert figures["C7 unet"].detail["padding"] > 0


def test_texts_that_are_encoded_again_are_counted(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controlnet.pipeline.TEXTS_KEPT", 1)
    specs = jobs(subject, (2,), "again")
    ran = count(model_of(subject), subject, specs)
    assert redundancy.ratio("", "", redundancy.distinct_texts(list(specs.values())), ran["text"]).value > 1.0


def test_control_rows_outside_windows_are_counted(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controlnet.pipeline.Control.acts", lambda self, index, steps: True)
    specs = jobs(subject, (2,), "outside")
    ran = count(model_of(subject), subject, specs)
    needed = redundancy.control_rows(list(specs.values()))
    assert redundancy.ratio("", "", needed, *redundancy.of_kind(ran, "control")).value > 1.0


def test_less_than_is_needed_is_no_score(subject: Subject) -> None:
    specs = jobs(subject, (1,), "less")
    ran = count(model_of(subject), subject, specs)
    with pytest.raises(Unequal, match="18 lines were computed where 19 are needed"):
        redundancy.ratio("C7 decode", "", 19, ran["decoder"])


def test_the_pipeline_is_not_left_counted(subject: Subject) -> None:
    count(model_of(subject), subject, jobs(subject, (1,), "left"))
    pipeline: Pipeline = subject.pipeline
    assert not pipeline.unet._forward_pre_hooks
    assert isinstance(pipeline.unet, torch.nn.Module)
