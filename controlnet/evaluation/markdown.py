"""An evaluation as tables of the documentation, between two marks that the command may replace again."""

from collections.abc import Sequence
from pathlib import Path

import cv2

from controlnet.annotators.annotator import Picture
from controlnet.evaluation.bootstrap import Interval
from controlnet.evaluation.evaluate import Evaluation
from controlnet.evaluation.figures import TITLES, Answers, Figures
from controlnet.evaluation.report import HEADINGS, samples, strip_picture
from controlnet.pixels import tile

BEGIN, END = "<!-- evaluation: written by `controlnet evaluate --docs` -->", "<!-- /evaluation -->"
ASKED = {
    "part": "part",
    "material_by_colour": "material (colour)",
    "material": "material (judge)",
    "defect": "defect",
    "all": "all three",
}


def markdown(evaluation: Evaluation) -> str:
    """Write the tables."""
    figures, setting = evaluation.held_out, evaluation.setting
    parts = [
        f"{evaluation.model}, `{evaluation.digest}`. {figures.images} scenes whose combination of part, material and "
        f"bench training never saw, {figures.judged} of them of one whole part; {setting['size']} px, "
        f"{setting['steps']} steps of {setting['sampler']}. In brackets: 95 % bootstrap intervals over images. Made by",
        f"```sh\n{evaluation.command}\n```",
        _table(
            ("target", "wanted", "found", ""),
            [
                (t.title, f"{t.bound:g}", f"{t.found.value:.2f} {_between(t.found, 2)}", "met" if t.met else "missed")
                for t in evaluation.targets()
            ],
        ),
        "Edge F1 of a picture's own Canny edges against the map, within one pixel, on all scenes:",
        _table(
            ("pictures", "edge F1", "of the ceiling", "over no control"),
            [
                (
                    TITLES[name],
                    f"{row.f1.value:.3f} {_between(row.f1, 3)}",
                    f"{row.of_ceiling.value:.2f}",
                    f"{row.over_no_control.value:.2f}",
                )
                for name, row in figures.adherence.items()
            ],
        ),
        "Right of pictures of one whole part, in percent. The material is told twice: by the colour under the "
        "renderer's mask, where the part lies where the map has it, and by the small classifier that tells part and "
        "defect too. The rows of the true picture are the judges' own accuracy:",
        _answers(figures),
    ]
    if evaluation.seen is not None:
        parts += [
            f"The same on {evaluation.seen.judged} scenes whose combinations training saw, at other seeds:",
            _answers(evaluation.seen),
        ]
    if evaluation.photographs:
        parts += [
            "Edges of photographs (scikit-image), at twice the native size:",
            _table(
                ("photograph", "edge F1", "without the map"),
                [(p.name, f"{p.f1:.2f}", f"{p.f1_free:.2f}") for p in evaluation.photographs],
            ),
        ]
    return "\n\n".join(parts) + "\n"


def write_docs(file: Path, evaluation: Evaluation) -> None:
    """Put tables and pictures into a page: between its marks, or at its end; a page that isn't there is begun.

    The pictures lie beside it, in `images/`.
    """
    images = file.parent / "images"
    images.mkdir(parents=True, exist_ok=True)
    measured = evaluation.measured
    _save(images / "model-samples.jpg", [strip_picture(measured, i) for i in samples(measured, 12)])
    text = markdown(evaluation)
    text += f"\n![Samples]({images.name}/model-samples.jpg)\n\n*{', '.join(HEADINGS)}; the first scenes, not chosen.*\n"
    for photograph in evaluation.photographs:
        picture = images / f"model-{photograph.name}.jpg"
        _save(picture, [tile([photograph.image, photograph.map, *photograph.samples], 2 + len(photograph.samples))])
        words = "”, “".join(photograph.prompts)
        text += f"\n![{photograph.name}]({images.name}/{picture.name})\n\n*{photograph.name}: “{words}”.*\n"
    page = file.read_text(encoding="utf-8") if file.is_file() else "# The model\n"
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2].lstrip("\n")
    file.write_text(f"{before.rstrip()}\n\n{BEGIN}\n\n{text}\n{END}\n" + (after and f"\n{after}"), encoding="utf-8")


def _save(file: Path, rows: Sequence[Picture]) -> None:
    picture = cv2.cvtColor(tile(rows, 1), cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(file), picture, [cv2.IMWRITE_JPEG_QUALITY, 92])


def _answers(figures: Figures) -> str:
    def cells(answers: Answers) -> list[str]:
        right = [answers.right.get(question) for question in ASKED]
        return ["" if i is None else f"{100 * i.value:.1f} {_between(i, 0, 100)}" for i in right]

    rows = [(title, *cells(figures.answers[name])) for name, title in TITLES.items() if name in figures.answers]
    return _table(("pictures", *ASKED.values()), rows)


def _between(interval: Interval, digits: int, scale: float = 1) -> str:
    return f"[{scale * interval.low:.{digits}f}, {scale * interval.high:.{digits}f}]"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
