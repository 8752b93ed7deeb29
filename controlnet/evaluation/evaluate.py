"""Measure a model: have it draw what it never saw, look at every picture, count, and keep the pictures to show."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from statistics import fmean

from pydantic import JsonValue
from rich.progress import track

from controlnet.evaluation.bootstrap import Interval
from controlnet.evaluation.figures import Figures, Measured, count, measure
from controlnet.evaluation.judge import QUESTIONS, Judge
from controlnet.evaluation.photographs import Photograph
from controlnet.evaluation.sampling import Subject, draw
from controlnet.evaluation.scenes import (
    FIRST_SEED,
    Case,
    find_seeds,
    other_held_out,
    render_cases,
    single_held_out,
    single_seen,
)
from controlnet.parts import Scene

OTHERS = 4
"""For each so many scenes of one whole part there is one of several parts or a close-up, for adherence alone."""


@dataclass(frozen=True)
class Target:
    """What a figure is to reach."""

    title: str
    found: Interval
    bound: float

    @property
    def met(self) -> bool:
        """Whether it does; the interval may still reach below."""
        return self.found.value >= self.bound


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All that is known of a model after an evaluation.

    Attributes:
        model: its name and version.
        digest: of the bundle.
        command: that asked.
        held_out: scenes with combinations of part, material and bench that training never sees.
        seen: scenes of one whole part in other combinations, at seeds that training doesn't see; perhaps none.
        photographs: what it makes of edges that no renderer made; perhaps none.
        measured: of the held-out scenes, with their pictures.
        setting: how samples were made, in words and numbers.
    """

    model: str
    digest: str
    command: str
    held_out: Figures
    seen: Figures | None
    photographs: tuple[Photograph, ...]
    measured: Measured
    setting: Mapping[str, str | float]

    def targets(self) -> list[Target]:
        """What the judges are to reach on true pictures, and the shipped model on held-out scenes."""
        followed, answers = self.held_out.adherence["control_g3"], self.held_out.answers
        real, steered, free = (answers[name].right for name in ("real", "control_g3", "no_control_g3"))
        return [
            Target("judge right of material, true pictures", real["material_by_colour"], 0.98),
            Target("judge right of part, true pictures", real["part"], 0.98),
            Target("edges followed, of the ceiling", followed.of_ceiling, 0.75),
            Target("edges followed, over no control", followed.over_no_control, 2.0),
            Target("material right, prompt and map", steered["material_by_colour"], 0.90),
            Target("part right, prompt and map", steered["part"], 0.85),
            Target("material right, prompt alone", free["material"], 0.90),
            Target("part right, prompt alone", free["part"], 0.85),
        ]

    def metrics(self) -> dict[str, float]:
        """The figures by flat names, for a manifest and for MLflow."""
        metrics = _flat(self.held_out)
        if self.seen is not None:
            metrics |= {f"seen_{name}": value for name, value in _flat(self.seen).items()}
        if self.photographs:
            metrics["canny_f1_photographs"] = fmean(photograph.f1 for photograph in self.photographs)
            metrics["canny_f1_photographs_no_control"] = fmean(photograph.f1_free for photograph in self.photographs)
        return metrics

    def document(self) -> dict[str, JsonValue]:
        """Everything but the pictures, ready for JSON."""
        cases, judged = self.measured.drawn.cases, self.measured.judged
        images: list[JsonValue] = []
        for i, case in enumerate(cases):
            row: dict[str, JsonValue] = {"seed": case.seed, "prompt": case.prompt}
            row["canny_f1"] = {name: values[i] for name, values in self.measured.scores.items()}
            if i in judged:
                row["seen"] = {
                    condition: {
                        question: QUESTIONS[question.removesuffix("_by_colour")][found[judged.index(i)]]
                        for question, found in seen.items()
                    }
                    for condition, seen in self.measured.seen.items()
                }
            images.append(row)
        return {
            "model": self.model,
            "digest": self.digest,
            "command": self.command,
            "setting": dict(self.setting),
            "metrics": dict(self.metrics()),
            "targets": [
                {"title": target.title, "bound": target.bound, "met": target.met, "found": asdict(target.found)}
                for target in self.targets()
            ],
            "held_out": asdict(self.held_out),
            "seen": None if self.seen is None else asdict(self.seen),
            "photographs": [photograph.document() for photograph in self.photographs],
            "images": images,
        }


def evaluate(
    subject: Subject, number: int, seen: int = 0, photographs: tuple[Photograph, ...] = (), *, command: str
) -> Evaluation:
    """Evaluate a model.

    Args:
        subject: the model.
        number: of held-out scenes of one whole part; a quarter more of others are added for adherence.
        seen: number of scenes of one whole part in combinations that training sees.
        photographs: what `controlnet.evaluation.photographs.follow` made.
        command: that asked, for whoever reads the figures.

    Raises:
        ValueError: `number` is below 1.
    """
    if number < 1:
        raise ValueError(f"{number} scenes: give 1 or more")
    judge = Judge.load()

    def measured(kinds: Mapping[Callable[[Scene], bool], int]) -> Measured:
        return measure(subject, judge, draw(subject, _cases(subject, kinds)))

    held_out = measured({single_held_out: number, other_held_out: number // OTHERS})
    return Evaluation(
        model=subject.model,
        digest=subject.digest,
        command=command,
        held_out=count(held_out),
        seen=count(measured({single_seen: seen})) if seen else None,
        photographs=photographs,
        measured=held_out,
        setting={
            "steps": subject.steps,
            "sampler": subject.sampler,
            "size": subject.size,
            "control": subject.control,
            "low_threshold": subject.thresholds[0],
            "high_threshold": subject.thresholds[1],
            "first_seed": FIRST_SEED,
        },
    )


def _cases(subject: Subject, kinds: Mapping[Callable[[Scene], bool], int]) -> list[Case]:
    """Render the first scenes of each kind, so many of each."""
    seeds = [seed for belongs, number in kinds.items() for seed in find_seeds(number, belongs)]
    return list(track(render_cases(seeds, subject.size), "rendering", total=len(seeds)))


def _flat(figures: Figures) -> dict[str, float]:
    """`canny_f1_<condition>`, `<question>_<condition>`, and a few more."""
    metrics = {"images": float(figures.images), "judged": float(figures.judged), "psnr_vae": figures.psnr_vae.value}
    for condition, adherence in figures.adherence.items():
        metrics[f"canny_f1_{condition}"] = adherence.f1.value
    for condition in ("control_g1", "control_g3"):
        metrics[f"of_ceiling_{condition}"] = figures.adherence[condition].of_ceiling.value
        metrics[f"over_no_control_{condition}"] = figures.adherence[condition].over_no_control.value
    for condition, answers in figures.answers.items():
        for question, right in answers.right.items():
            metrics[f"{question}_{condition}"] = right.value
    return {name: round(value, 4) for name, value in metrics.items()}
