"""Every measure at its smallest: it comes to an end, and a wrong engine has no score."""

from __future__ import annotations

import math

import pytest

from ops.bench import capacity, join, mixture, neighbours, redundancy, single, tail, variants
from ops.bench.__main__ import MEASURES, measured
from ops.bench.bench import Bench
from ops.bench.figure import Figure
from ops.bench.subjects import demo
from tests.ops.bench.conftest import SMOKE

ENGINE = {"c1": capacity, "c2": mixture, "c3": tail, "c4": join, "c7": redundancy}


@pytest.mark.parametrize("name", ENGINE)
def test_figures_are_positive_numbers(name: str, bench: Bench) -> None:
    figures = measured(name, bench)
    assert figures
    for figure in figures:
        assert isinstance(figure, Figure)
        assert figure.value is not None
        assert 0 < figure.value < math.inf
        assert figure.name.lower().startswith(name)


@pytest.mark.parametrize("name", ENGINE)
def test_a_model_that_makes_other_pictures_has_no_score(name: str, wrong_bench: Bench) -> None:
    (figure,) = measured(name, wrong_bench)
    assert isinstance(figure, Figure)
    assert figure.value is None
    assert "differs by 2 of 255 levels" in figure.refused


def test_one_image_is_compared_with_diffusers(subject) -> None:
    (figure,) = single.measure(Bench(SMOKE, subject, demo()))
    assert figure.value is not None
    assert figure.detail["levels_apart"] <= 1


def test_the_profile_holds_all_of_a_steps_time(bench: Bench) -> None:
    for table in MEASURES["profile"](bench):
        assert sum(row[1] for row in table.rows) == pytest.approx(1.0)
        assert table.rows[-1][0] == "all others"


def test_variants_are_compared_with_the_default(subject) -> None:
    kinds = {"contiguous": variants.contiguous, "bfloat16": variants.bfloat16}
    default, contiguous, half = variants.compare(Bench(SMOKE, subject, demo()), kinds, sizes=(1,)).rows
    assert (default[0], default[3], default[4]) == ("default", 1.0, "0.0e+00")
    assert 0 < float(contiguous[4]) < 1e-4 < float(half[4])


def test_pictures_beside_other_work_are_those_of_a_quiet_machine(subject, monkeypatch) -> None:
    monkeypatch.setattr(neighbours, "LOOPS", (1,))
    monkeypatch.setattr(neighbours, "IMAGES", (1,))
    quiet, beside = neighbours.measure(Bench(SMOKE, subject, subject))
    assert quiet.value is not None
    assert beside.value is not None
    assert (quiet.target, beside.at_most) == (1.05, True)
    assert beside.detail["always spinning"] > 0
