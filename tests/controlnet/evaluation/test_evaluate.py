from __future__ import annotations

import json

import pytest

from controlnet.evaluation.bootstrap import Interval
from controlnet.evaluation.evaluate import Evaluation, Target, evaluate
from controlnet.evaluation.sampling import Subject


def test_metrics_are_the_figures_by_flat_names(evaluation: Evaluation) -> None:
    metrics = evaluation.metrics()
    assert metrics["canny_f1_control_g1"] == round(evaluation.held_out.adherence["control_g1"].f1.value, 4)
    assert metrics["material_by_colour_control_g3"] == round(
        evaluation.held_out.answers["control_g3"].right["material_by_colour"].value, 4
    )
    assert metrics["images"] == 5
    assert metrics["seen_judged"] == 2
    assert metrics["canny_f1_photographs"] == evaluation.photographs[0].f1


def test_the_document_is_json_and_tells_each_image(evaluation: Evaluation) -> None:
    document = json.loads(json.dumps(evaluation.document()))
    assert document["command"] == "controlnet evaluate tiny --count 4"
    assert [image["seed"] for image in document["images"]] == [case.seed for case in evaluation.measured.drawn.cases]
    assert document["images"][0]["seen"]["real"].keys() == {"part", "material", "defect", "material_by_colour"}
    assert "seen" not in document["images"][4]  # several parts, or a close-up
    assert document["held_out"]["adherence"]["vae"]["of_ceiling"]["value"] == 1


def test_the_same_bundle_has_the_same_figures(subject: Subject, evaluation: Evaluation) -> None:
    again = evaluate(subject, 4, command="again")
    assert again.held_out == evaluation.held_out


def test_a_target_is_met_from_its_bound_on() -> None:
    assert Target("x", Interval(0.75, 0.7, 0.8, 10), 0.75).met
    assert not Target("x", Interval(0.749, 0.7, 0.8, 10), 0.75).met


def test_nothing_cannot_be_measured(subject: Subject) -> None:
    with pytest.raises(ValueError, match="0 scenes"):
        evaluate(subject, 0, command="")
