from __future__ import annotations

from pathlib import Path

import pytest

from controlnet.architecture import SD15
from ops.bench.table import Table
from ops.capacity import plots
from ops.capacity.fast import simulate_fast
from ops.capacity.limits import Limit, _rate, in_gpus, pictures, store
from ops.capacity.page import PAGE, put, put_tables
from ops.capacity.policy import Policy
from ops.capacity.prices import read_prices
from ops.capacity.trace import Demand
from tests.ops.capacity.conftest import gpu, requests


def test_a_table_takes_the_place_of_what_was_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- one -->\nold\n<!-- /one -->\nb\n<!-- two -->\n<!-- /two -->\n")
    for _ in range(2):
        put_tables("one", [Table("Title", ["x", "y"], [["1", 2.0]])], page)
    assert page.read_text().count("| 1 | 2.0 |") == 1
    assert "old" not in page.read_text()
    assert page.read_text().endswith("b\n<!-- two -->\n<!-- /two -->\n")


def test_a_place_that_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("nothing")
    with pytest.raises(ValueError, match="0 places for 'one'"):
        put("one", "text", tmp_path / "page.md")


@pytest.mark.parametrize("name", ["gpus", "spot", "agreement", "largest", "limits", "predicted"])
def test_the_planning_page_has_a_place_for_every_table(name: str) -> None:
    text = PAGE.read_text()
    assert text.count(f"<!-- {name} -->") == text.count(f"<!-- /{name} -->") == 1


def test_plots_are_the_same_each_time(tmp_path: Path) -> None:
    kind = gpu()
    outcome = simulate_fast(Demand.of(requests(kind, 2, 0.5, 60), 1.0), kind, Policy(fewest=2, most=2), SD15)
    drawn = []
    for name in ("one.svg", "two.svg"):
        plots.frontier(tmp_path / name, {"easy": [("0.5", 2.0, 1.0), ("0.7", 3.0, 0.5)]})
        plots.day(tmp_path / f"day-{name}", {"easy": outcome})
        drawn.append(((tmp_path / name).read_bytes(), (tmp_path / f"day-{name}").read_bytes()))
    assert drawn[0] == drawn[1]
    assert b"planned with" in drawn[0][0]


def test_what_is_full_first_comes_first_and_is_counted_in_gpus() -> None:
    rows = in_gpus([Limit("later", 1000.0, "then"), Limit("sooner", 100.0, "then")]).rows
    assert [row[0] for row in rows] == ["sooner", "later"]
    gpus = len(read_prices())
    for few, many in zip(rows[0][2 : 2 + gpus], rows[1][2 : 2 + gpus], strict=True):
        assert float(many) == pytest.approx(10 * float(few), rel=0.1)


def test_the_store_is_measured_with_jobs_that_end(tmp_path: Path) -> None:
    submitted, carried = store(f"sqlite:///{tmp_path / 'jobs.db'}", seconds=0.5)
    assert submitted > 0
    assert carried > 0


def test_a_rate_is_of_the_time_that_there_was_work() -> None:
    work = iter([1] * 60)
    assert _rate(lambda: next(work, 0), seconds=60.0) > 1.5


def test_pictures_are_encoded_and_stored() -> None:
    encoded, puts, size = pictures(seconds=0.05)
    assert encoded > 0
    assert puts > 0
    assert size > 100_000
