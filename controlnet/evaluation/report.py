"""An evaluation as one HTML page that needs nothing beside it: figures, confusions, pictures."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from controlnet.annotators.annotator import Picture
from controlnet.evaluation.evaluate import Evaluation
from controlnet.evaluation.figures import TITLES, Measured
from controlnet.evaluation.judge import QUESTIONS
from controlnet.pixels import tile

COLUMNS = ("real", "map", "control_g3", "control_g1", "no_control_g3", "shuffled_g3")
HEADINGS = ("true picture", "its map", "map, g 3", "map, g 1", "no map, g 3", "next map, g 3")
"""What a strip shows, left to right."""

SAMPLES, WORST = 16, 6


@dataclass(frozen=True)
class Strip:
    """One scene: its pictures side by side, and what was found.

    Attributes:
        prompt: what was asked.
        picture: data URI of a PNG.
        f1: of the sample under map and guidance 3.
        seen: what the judge saw in it, by question, each with whether it is right; empty for several parts.
    """

    prompt: str
    picture: str
    f1: float
    seen: Sequence[tuple[str, bool]]


def data_uri(picture: Picture) -> str:
    """A picture [H, W, 3] as `data:image/png;base64,...`."""
    encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 9])[1]
    return "data:image/png;base64," + base64.b64encode(encoded.tobytes()).decode()


def strip_picture(measured: Measured, index: int) -> Picture:
    """The pictures of one case side by side, in the order of `HEADINGS`."""
    drawn = measured.drawn
    return tile([drawn.maps[index] if name == "map" else drawn.pictures[name][index] for name in COLUMNS], len(COLUMNS))


def _strip(measured: Measured, index: int) -> Strip:
    seen: list[tuple[str, bool]] = []
    if index in measured.judged:
        truth, place = measured.drawn.cases[index].truth, measured.judged.index(index)
        for question, answers in QUESTIONS.items():
            found = int(measured.seen["control_g3"][question][place])
            answer = answers[found] if question != "defect" or found else "sound"
            seen.append((answer, found == truth[question]))
    score = measured.scores["control_g3"][index]
    return Strip(measured.drawn.cases[index].prompt, data_uri(strip_picture(measured, index)), score, seen)


def _least_followed(measured: Measured) -> list[int]:
    return sorted(range(len(measured.drawn.cases)), key=lambda i: measured.scores["control_g3"][i])[:WORST]


def _misread(measured: Measured) -> list[int]:
    """Cases of which the judge sees another part or material, those with both first."""
    seen, wrong = measured.seen["control_g3"], {}
    for place, index in enumerate(measured.judged):
        truth = measured.drawn.cases[index].truth
        wrong[index] = sum(int(seen[question][place]) != truth[question] for question in ("part", "material"))
    return sorted((index for index, faults in wrong.items() if faults), key=lambda index: -wrong[index])[:WORST]


def samples(measured: Measured, number: int = SAMPLES) -> list[int]:
    """The first cases of one part, and a quarter of several or of close-ups: not chosen by how they turned out."""
    others = [i for i in range(len(measured.drawn.cases)) if i not in measured.judged]
    return [*measured.judged[: number - number // 4], *others[: number // 4]]


def write_report(evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write `report.html` and `evaluation.json` into a folder, made if missing, and return both."""
    folder.mkdir(parents=True, exist_ok=True)
    page, document = folder / "report.html", folder / "evaluation.json"
    page.write_text(html(evaluation), encoding="utf-8")
    document.write_text(json.dumps(evaluation.document(), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return [page, document]


def html(evaluation: Evaluation) -> str:
    """Write the page."""
    # A template is text with holes; HTML in a prompt or a name stays text.
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    measured = evaluation.measured
    return environment.get_template("report.html.j2").render(
        evaluation=evaluation,
        titles=TITLES,
        questions=QUESTIONS,
        headings=HEADINGS,
        sections=[
            (title, words, [_strip(measured, index) for index in indices])
            for title, words, indices in (
                ("Samples", "The first scenes of each kind, not chosen.", samples(measured)),
                ("Least followed", "The lowest edge F1 under map and guidance 3.", _least_followed(measured)),
                ("Misread", "The judge sees another part or material than asked for.", _misread(measured)),
            )
        ],
        photographs=[
            (photograph, data_uri(tile([photograph.image, photograph.map, *photograph.samples, *photograph.free], 6)))
            for photograph in evaluation.photographs
        ],
    )
