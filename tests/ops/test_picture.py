"""Pictures of dashboards: every line is one of Prometheus'."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ops.dashboards.board import Board, Row, panel
from ops.dashboards.picture import Line, draw, lines

ONE = panel("Requests", "A second.", "reqps", ("sum by (route) (a)", "to {{route}}"))


def ask(expr: str) -> Sequence[tuple[dict[str, str], Sequence[tuple[float, float]]]]:
    return [({"route": "/v1"}, [(1.0, 2.0), (2.0, math.nan), (3.0, 4.0)]), ({"route": "/no"}, [(1.0, math.nan)])]


def test_a_line_has_its_labels_and_only_numbers() -> None:
    assert lines(ONE, ask) == [Line("to /v1", [(1.0, 2.0), (3.0, 4.0)])]


def test_numbers_are_drawn(tmp_path: Path) -> None:
    def ink(numbers: bool) -> int:
        path = tmp_path / f"{numbers}.png"
        draw(Board("b", "B", "b", (Row("r", (ONE,)),)), ask if numbers else lambda expr: [], path)
        colours = np.asarray(Image.open(path).convert("RGB")).astype(int)
        return int((np.ptp(colours, axis=2) > 60).sum())  # text and frames are grey

    assert ink(numbers=False) == 0
    assert ink(numbers=True) > 100
