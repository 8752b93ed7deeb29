from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ops.load import page
from ops.load.calibration import Calibration
from ops.load.figures import figures
from ops.load.plan import Fault
from ops.load.run import Load, Measurement
from ops.load.trace import MIX
from ops.load.work import gflop
from tests.ops.load.conftest import SHAPE, outcome

SOLO = {shape: 0.5 for shape, _ in MIX.shapes()}


@pytest.fixture
def measurement() -> Measurement:
    """Of a platform that did everything it was asked at 0.5, and refused or broke half at 2."""
    calm, busy = Load(0.5), Load(2.0, in_bursts=True)
    loads = []
    for load in (calm, busy):
        trace = load.trace(MIX, 2.0, 20.0, seed=1)
        ends = [outcome(one.number, sent=one.at, ended=one.at + 0.8) for one in trace]
        if load is busy:
            ends[::4] = [replace(one, end="refused", reason="429 deadline-unreachable") for one in ends[::4]]
            fault = Fault(3.0, "POST /v1/jobs", "500 <internal>")
            ends[1::4] = [replace(one, end="failed", reason="500", faults=(fault,)) for one in ends[1::4]]
        loads.append(figures(load.name, load.times, 20.0, trace, ends, MIX.teams, SOLO, 2.0 * gflop(SHAPE)))
    return Measurement(
        command="python -m ops.load",
        began=datetime(2026, 1, 2, tzinfo=UTC),
        minutes=3.0,
        commit="abc",
        machine={"cpu": "a processor", "cores": 2},
        versions={"python": "3.11"},
        where="a test",
        seed=1,
        deadlines=True,
        calibration=Calibration(2.0 * gflop(SHAPE), gflop(SHAPE), SOLO, 100),
        loads=loads,
    )


def test_a_page_stands_by_itself(measurement: Measurement) -> None:
    html = page.to_html(measurement)
    assert html.count("<svg") == 4
    assert not re.search(r"<(link|script|img|iframe)\b|@import|url\(http", html)
    assert not re.search(r"(src|href)=\"(?!#)", re.sub(r"xmlns(:\w+)?=\"[^\"]+\"", "", html))


def test_a_page_says_what_was_measured_refused_and_assumed(measurement: Measurement) -> None:
    text = re.sub(r"<[^>]+>", " ", page.to_html(measurement))
    for words in ("2.00/s", "100 %", "429 deadline-unreachable", "2x in bursts", "made up from seed 1", "Zipf"):
        assert words in text
    assert "500 &lt;internal&gt;" in text


def test_the_numbers_are_there_as_json(measurement: Measurement) -> None:
    found = json.loads(json.dumps(page.to_json(measurement)))
    calm, busy = found["loads"]
    assert calm["goodput"] == 1.0
    assert busy["goodput"] == pytest.approx(0.5, abs=0.05)
    assert found["calibration"]["requests_s"] == pytest.approx(2.0)
    assert busy["errors"] == {"POST /v1/jobs: 500 <internal>": sum(busy["failures"].values())}


def test_equal_measurements_are_equal_pages(measurement: Measurement) -> None:
    assert page.to_html(measurement) == page.to_html(measurement)


def test_a_load_that_nothing_came_of_can_be_shown(measurement: Measurement) -> None:
    nothing = figures("0.1x", 0.1, 20.0, [], [], MIX.teams, SOLO, 1.0)
    assert "0.1x" in page.to_html(replace(measurement, loads=[nothing]))


@pytest.mark.parametrize(
    ("value", "text"), [(None, "none"), (0.0123, "12 ms"), (0.9999, "1 s"), (12.34, "12.3 s"), (123.4, "123 s")]
)
def test_seconds_are_for_people(value: float | None, text: str) -> None:
    assert page.seconds(value) == text
