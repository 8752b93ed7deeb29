from __future__ import annotations

import numpy as np
import pytest

from controlnet.bundle import Bundle
from controlnet.evaluation.evaluate import Evaluation
from controlnet.evaluation.sampling import CONDITIONS, Subject, sample


def test_every_case_is_drawn_under_every_condition(evaluation: Evaluation) -> None:
    drawn = evaluation.measured.drawn
    assert set(drawn.pictures) == {"real", "vae", *CONDITIONS}
    assert {len(pictures) for pictures in drawn.pictures.values()} == {len(drawn.cases)}
    assert {picture.shape for pictures in drawn.pictures.values() for picture in pictures} == {(32, 32, 3)}


def test_the_map_steers_where_a_condition_has_one(evaluation: Evaluation) -> None:
    pictures = evaluation.measured.drawn.pictures
    own, other, none = (pictures[name][0] for name in ("control_g3", "shuffled_g3", "no_control_g3"))
    assert (own != none).any()
    assert (own != other).any()


def test_a_sample_is_what_its_own_noise_and_words_and_map_give(subject: Subject, evaluation: Evaluation) -> None:
    drawn = evaluation.measured.drawn
    spec = subject.spec(drawn.cases[1].prompt, drawn.maps[1], 3.0, drawn.cases[1].seed)
    (alone,) = sample(subject, [spec], "alone")
    beside = drawn.pictures["control_g3"][1]
    assert np.abs(alone.astype(int) - beside).max() <= 2  # another batch rounds otherwise


def test_a_subject_is_asked_as_its_bundle_says(subject: Subject, bundle: Bundle) -> None:
    spec = subject.spec("a brass gear", None, 1.0, 7)
    assert (spec.width, spec.height, spec.steps, spec.sampler, spec.controls) == (32, 32, 2, "ddim", ())
    assert subject.digest == bundle.digest
    assert subject.thresholds == (60, 140)


@pytest.mark.parametrize("control", ["depth", "pose"])
def test_a_control_that_takes_no_canny_maps_is_refused(bundle: Bundle, control: str) -> None:
    with pytest.raises(ValueError, match=rf"'{control}' must be there and take canny maps"):
        Subject.of(bundle, control)
