"""What a result warns of: each case where a request was carried out and a part of it had no effect."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from controlnet.annotators.annotator import Picture
from controlnet.pipeline import Control, ImageSpec, Pipeline
from controlnet.text import Cut, Tokenizer
from controlnet.warnings import of_map
from tests.networks import write_tokenizer

SPEC = ImageSpec("gear", 32, 32, steps=20)
HINT = torch.zeros(3, 32, 32)


def told(pipeline: Pipeline, **changes: object) -> list[tuple[str, str]]:
    return [(warning.code, warning.field) for warning in pipeline.warnings(replace(SPEC, **changes))]  # type: ignore[arg-type]


def lines(share: float = 0.1, tone: int = 255) -> Picture:
    """A map whose left part is drawn."""
    drawn = np.zeros((100, 100, 3), np.uint8)
    drawn[:, : round(100 * share)] = tone
    return drawn


def codes(control_map: Picture, source: tuple[int, int] | None = None, control: str = "canny") -> list[str]:
    """Of a map that an annotator made, or of one that was given at a height and width."""
    picture = np.zeros((*(source or control_map.shape[:2]), 3), np.uint8)
    annotator = "threshold" if source is None else "none"
    return [w.code for w in of_map(control_map, picture, "controls.0.map", control=control, annotator=annotator)]


def test_a_plain_request_has_none(pipeline: Pipeline) -> None:
    assert told(pipeline, controls=(Control("canny", HINT),)) == []


def test_a_prompt_that_is_cut_is_told_with_what_is_not_read(pipeline: Pipeline) -> None:
    (warning,) = pipeline.warnings(replace(SPEC, prompt="abcdefghij KLM"))
    assert (warning.code, warning.field) == ("prompt-cut", "prompt")
    assert warning.detail == "The prompt has 13 tokens and the model reads 10. Not read: 'KLM'."


def test_a_prompt_that_just_fits_is_not_cut(pipeline: Pipeline) -> None:
    assert told(pipeline, prompt="abcdefghij") == []


@pytest.mark.parametrize(("guidance", "code"), [(3.0, "negative-prompt-cut"), (1.0, "negative-prompt-unused")])
def test_a_negative_prompt_is_read_under_guidance_only(pipeline: Pipeline, guidance: float, code: str) -> None:
    assert told(pipeline, negative_prompt="abcdefghijk", guidance=guidance) == [(code, "negative_prompt")]


def test_one_step_is_told(pipeline: Pipeline) -> None:
    assert told(pipeline, steps=1) == [("one-step", "steps")]


@pytest.mark.parametrize(("start", "end", "empty"), [(0.51, 0.54, True), (0.5, 0.55, False), (0.0, 0.0, True)])
def test_a_window_without_a_step_is_told(pipeline: Pipeline, start: float, end: float, empty: bool) -> None:
    controls = (Control("depth", HINT), Control("canny", HINT, start=start, end=end))
    assert told(pipeline, controls=controls) == ([("window-without-step", "controls.1")] if empty else [])


@pytest.mark.parametrize("tone", [0, 7, 255])
def test_a_map_of_one_tone_is_told(tone: int) -> None:
    flat = np.full((64, 64, 3), tone, np.uint8)
    assert codes(flat) == ["map-one-tone"]


def test_a_stray_pixel_is_no_structure() -> None:
    flat = np.zeros((128, 128, 3), np.uint8)
    flat[3, 3] = 255
    assert codes(flat) == ["map-one-tone"]


@pytest.mark.parametrize(("share", "found"), [(0.4, []), (0.9, ["map-mostly-white"])])
def test_lines_that_are_dark_are_told_where_the_control_draws_bright_ones(share: float, found: list[str]) -> None:
    assert codes(lines(share)) == found
    assert codes(lines(share), control="depth") == []


@pytest.mark.parametrize(("source", "found"), [((200, 200), ["map-shrunk"]), ((199, 400), []), (None, [])])
def test_a_map_that_was_shrunk_by_two_is_told(source: tuple[int, int] | None, found: list[str]) -> None:
    assert codes(lines(), source=source) == found


def test_a_text_is_measured_as_it_is_read(tmp_path: Path) -> None:
    tokenizer = Tokenizer(write_tokenizer(tmp_path), 6)
    assert tokenizer.cut("ab cd") is None
    assert tokenizer.cut("ab cd éf") == Cut(7, 4, "éf")  # a letter of two bytes is two tokens
