from __future__ import annotations

from pathlib import Path

from controlnet.evaluation.evaluate import Evaluation
from controlnet.evaluation.figures import TITLES
from controlnet.evaluation.markdown import BEGIN, END, markdown, write_docs


def test_tables_hold_every_row_and_the_command(evaluation: Evaluation) -> None:
    text = markdown(evaluation)
    assert evaluation.command in text
    assert all(f"| {title} |" in text for title in TITLES.values())
    assert f"| coins | {evaluation.photographs[0].f1:.2f} |" in text


def test_all_rows_of_a_table_have_as_many_cells(evaluation: Evaluation) -> None:
    for table in markdown(evaluation).split("\n\n"):
        if table.startswith("|"):
            assert len({line.count("|") for line in table.strip().splitlines()}) == 1


def test_a_page_is_begun_with_its_pictures(evaluation: Evaluation, tmp_path: Path) -> None:
    write_docs(tmp_path / "docs" / "model.md", evaluation)
    text = (tmp_path / "docs" / "model.md").read_text()
    assert text.startswith("# The model\n")
    assert "(images/model-samples.jpg)" in text
    assert {file.name for file in (tmp_path / "docs" / "images").iterdir()} == {"model-samples.jpg", "model-coins.jpg"}


def test_only_what_lies_between_the_marks_is_replaced(evaluation: Evaluation, tmp_path: Path) -> None:
    page = tmp_path / "model.md"
    page.write_text(f"# Mine\n\nBefore.\n\n{BEGIN}\n\nold figures\n\n{END}\n\nAfter.\n")
    write_docs(page, evaluation)
    first = page.read_text()
    assert first.startswith(f"# Mine\n\nBefore.\n\n{BEGIN}\n")
    assert first.endswith(f"{END}\n\nAfter.\n")
    assert "old figures" not in first
    write_docs(page, evaluation)
    assert page.read_text() == first
