"""What is counted over pictures: how well they follow their maps, and whether they show what the words say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from controlnet.annotators.annotator import Picture
from controlnet.evaluation.bootstrap import Interval, mean, ratio
from controlnet.evaluation.judge import QUESTIONS, Judge
from controlnet.evaluation.material import material_of
from controlnet.evaluation.metrics import canny_f1, edges, psnr
from controlnet.evaluation.sampling import CONDITIONS, Drawn, Subject
from controlnet.evaluation.scenes import single

TITLES: Mapping[str, str] = MappingProxyType(
    {
        "real": "the true picture",
        "vae": "ceiling: the true picture through the autoencoder",
        "control_g1": CONDITIONS["control_g1"].title,
        "control_g3": CONDITIONS["control_g3"].title,
        "shuffled_given_g3": "prompt and the next scene's map, guidance 3, held to that map",
        "shuffled_g3": "the same, held to the prompt's own map",
        "no_control_g3": CONDITIONS["no_control_g3"].title,
        "no_control_g1": CONDITIONS["no_control_g1"].title,
        "chance": "chance: the true picture against the next scene's map",
    }
)
"""What is measured, in the order in which it is told."""

MASKED = ("real", "vae", "control_g1", "control_g3")
"""Pictures that show the part where the renderer's mask has it, so that its colour can be measured there."""


@dataclass(frozen=True)
class Adherence:
    """How well edges are followed.

    Attributes:
        f1: of the picture's own edges against the map, within a pixel.
        of_ceiling: over that of the true pictures through the autoencoder.
        over_no_control: over that of samples without a map at guidance 3.
    """

    f1: Interval
    of_ceiling: Interval
    over_no_control: Interval


@dataclass(frozen=True)
class Answers:
    """What pictures of one whole part show, against what they should.

    Attributes:
        right: share by question; `material_by_colour` where the part's place is known, `all` by the judge alone.
        confusion: by question: how often what should be there (row) was seen as what (column).
    """

    right: Mapping[str, Interval]
    confusion: Mapping[str, list[list[int]]]


@dataclass(frozen=True)
class Figures:
    """All that was counted over one kind of scenes.

    Attributes:
        images: of all scenes, which adherence is measured on.
        judged: of them, those that show one whole part.
        psnr_vae: of the autoencoder, dB.
        adherence: by condition.
        answers: by condition; those of `real` and `vae` say how far the judges can be trusted.
    """

    images: int
    judged: int
    psnr_vae: Interval
    adherence: Mapping[str, Adherence]
    answers: Mapping[str, Answers]


@dataclass(frozen=True, eq=False)
class Measured:
    """What was measured on each picture.

    Attributes:
        drawn: the pictures.
        scores: edge F1 of each, by condition.
        seen: what the judges see in those of one whole part, by condition and question: [judged] indices of answers.
        psnr: of each true picture through the autoencoder, dB.
    """

    drawn: Drawn
    scores: Mapping[str, Sequence[float]]
    seen: Mapping[str, Mapping[str, npt.NDArray[np.int64]]]
    psnr: Sequence[float]

    @property
    def judged(self) -> list[int]:
        """Places of the cases of one whole part."""
        return [i for i, case in enumerate(self.drawn.cases) if single(case.scene)]


def measure(subject: Subject, judge: Judge, drawn: Drawn) -> Measured:
    """Look at every picture."""
    real, through = drawn.pictures["real"], drawn.pictures["vae"]
    return Measured(
        drawn,
        _scores(subject, drawn),
        _answers(judge, drawn),
        [psnr(made, true) for made, true in zip(through, real, strict=True)],
    )


def count(measured: Measured) -> Figures:
    """Count what was measured."""
    scores = measured.scores
    ceiling, free = scores["vae"], scores["no_control_g3"]
    truth = [measured.drawn.cases[i].truth for i in measured.judged]
    return Figures(
        images=len(measured.drawn.cases),
        judged=len(truth),
        psnr_vae=mean(measured.psnr),
        adherence={
            name: Adherence(mean(scores[name]), ratio(scores[name], ceiling), ratio(scores[name], free))
            for name in TITLES
            if name in scores
        },
        answers={name: _compare(seen, truth) for name, seen in measured.seen.items()},
    )


def _scores(subject: Subject, drawn: Drawn) -> dict[str, list[float]]:
    wanted = [control_map[..., 0] > 0 for control_map in drawn.maps]
    others = [*wanted[1:], wanted[0]]

    def score(pictures: Sequence[Picture], maps: Sequence[npt.NDArray[np.bool_]]) -> list[float]:
        return [canny_f1(edges(a, *subject.thresholds), b) for a, b in zip(pictures, maps, strict=True)]

    scores = {name: score(pictures, wanted) for name, pictures in drawn.pictures.items() if name != "real"}
    return scores | {
        "shuffled_given_g3": score(drawn.pictures["shuffled_g3"], others),
        "chance": score(drawn.pictures["real"], others),
    }


def _answers(judge: Judge, drawn: Drawn) -> dict[str, dict[str, npt.NDArray[np.int64]]]:
    whole = [i for i, case in enumerate(drawn.cases) if single(case.scene)]
    seen = {}
    for name, pictures in drawn.pictures.items():
        if name == "shuffled_g3":  # one scene's words on another's edges: no answer would be the right one
            continue
        seen[name] = judge.verdicts([pictures[i] for i in whole])
        if name in MASKED:
            by_colour = [material_of(pictures[i], drawn.cases[i].mask) for i in whole]
            seen[name]["material_by_colour"] = np.array(by_colour, np.int64)
    return seen


def _compare(seen: Mapping[str, npt.NDArray[np.int64]], truth: Sequence[Mapping[str, int]]) -> Answers:
    wanted = {question: np.array([true[question] for true in truth]) for question in QUESTIONS}
    wanted["material_by_colour"] = wanted["material"]
    right = {question: found == wanted[question] for question, found in seen.items()}
    confusion = {}
    for question, found in seen.items():
        size = len(QUESTIONS[question.removesuffix("_by_colour")])
        table = np.zeros((size, size), int)
        np.add.at(table, (wanted[question], found), 1)
        confusion[question] = table.tolist()
    right["all"] = np.logical_and.reduce([right[question] for question in QUESTIONS])
    return Answers({question: mean(hits) for question, hits in right.items()}, confusion)
