from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from controlnet.evaluation.bootstrap import SMALLEST
from controlnet.evaluation.evaluate import Evaluation
from controlnet.evaluation.figures import TITLES, count, measure
from controlnet.evaluation.judge import Judge
from controlnet.evaluation.sampling import Subject


def test_pictures_equal_to_the_true_ones_follow_their_maps_wholly(subject: Subject, evaluation: Evaluation) -> None:
    drawn = evaluation.measured.drawn
    pictures = {**drawn.pictures, "control_g3": drawn.pictures["real"]}
    perfect = count(measure(subject, Judge.load(), replace(drawn, pictures=pictures))).adherence
    assert perfect["control_g3"].f1.value == 1
    assert perfect["control_g3"].of_ceiling.value == pytest.approx(1 / max(perfect["vae"].f1.value, SMALLEST))
    assert perfect["control_g3"].over_no_control.value == pytest.approx(
        1 / max(perfect["no_control_g3"].f1.value, SMALLEST)
    )


def test_chance_is_the_true_picture_against_the_next_map(subject: Subject, evaluation: Evaluation) -> None:
    drawn = evaluation.measured.drawn
    real = drawn.pictures["real"]
    moved = replace(drawn, pictures={**drawn.pictures, "control_g3": [*real[1:], real[0]]})
    scores = measure(subject, Judge.load(), moved).scores
    # The F1 of two maps is the same either way round, so the means over the ring are equal.
    assert np.mean(scores["control_g3"]) == pytest.approx(np.mean(scores["chance"]))


def test_shuffled_samples_are_held_to_both_maps(subject: Subject, evaluation: Evaluation) -> None:
    drawn = evaluation.measured.drawn
    real = drawn.pictures["real"]
    obedient = replace(drawn, pictures={**drawn.pictures, "shuffled_g3": [*real[1:], real[0]]})
    scores = measure(subject, Judge.load(), obedient).scores
    assert np.mean(scores["shuffled_given_g3"]) == 1
    assert np.mean(scores["shuffled_g3"]) < 1


def test_only_scenes_of_one_whole_part_are_judged(evaluation: Evaluation) -> None:
    figures = evaluation.held_out
    assert (figures.images, figures.judged) == (5, 4)
    assert {found.count for answers in figures.answers.values() for found in answers.right.values()} == {4}
    assert {row.f1.count for row in figures.adherence.values()} == {5}


def test_colour_is_measured_only_where_the_part_must_lie(evaluation: Evaluation) -> None:
    by_colour = {name for name, answers in evaluation.held_out.answers.items() if "material_by_colour" in answers.right}
    assert by_colour == {"real", "vae", "control_g1", "control_g3"}


def test_a_confusion_counts_each_picture_once_and_the_right_ones_on_its_diagonal(evaluation: Evaluation) -> None:
    for answers in evaluation.held_out.answers.values():
        for question, table in answers.confusion.items():
            assert np.sum(table) == 4
            assert np.trace(np.array(table)) / 4 == pytest.approx(answers.right[question].value)


def test_everything_measured_has_a_title(evaluation: Evaluation) -> None:
    assert set(evaluation.held_out.adherence) | set(evaluation.held_out.answers) == set(TITLES)
