from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from controlnet.evaluation.evaluate import Evaluation
from controlnet.evaluation.report import COLUMNS, data_uri, html, write_report


def test_the_page_tells_what_was_measured_and_how(evaluation: Evaluation) -> None:
    page = html(evaluation)
    assert evaluation.model in page
    assert evaluation.digest in page
    assert evaluation.command in page
    assert f"{evaluation.held_out.adherence['control_g3'].f1.value:.3f}" in page
    assert all(case.prompt in page for case in evaluation.measured.drawn.cases)


def test_the_page_needs_no_file_beside_it(evaluation: Evaluation) -> None:
    page = html(evaluation)
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert "url(" not in page


def test_a_strip_holds_a_picture_for_each_heading(evaluation: Evaluation) -> None:
    source = re.findall(r'src="data:image/png;base64,([^"]*)"', html(evaluation))[0]
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(source), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (32, 32 * len(COLUMNS), 3)


def test_words_stay_words(evaluation: Evaluation) -> None:
    page = html(replace(evaluation, model="<script>alert(1)</script>"))
    assert "<script" not in page


def test_a_data_uri_is_the_picture_itself() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    encoded = base64.b64decode(data_uri(picture).removeprefix("data:image/png;base64,"))
    decoded = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), picture)


def test_a_report_is_a_page_and_its_numbers(evaluation: Evaluation, tmp_path: Path) -> None:
    page, document = write_report(evaluation, tmp_path / "new")
    assert page.read_text().startswith("<!doctype html>")
    assert json.loads(document.read_text())["digest"] == evaluation.digest
