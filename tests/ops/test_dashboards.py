"""Dashboards: what is committed is what the code makes, and a stranger can read it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.dashboards.board import Board, Panel, render
from ops.dashboards.boards import BOARDS, FOLDER
from ops.dashboards.names import EXTERNAL, names_in
from serve.telemetry import METRICS
from tests.ops.test_rules import RECORDED, parts

PANELS = {f"{board.name}: {panel.title}": panel for board in BOARDS for panel in board.panels}
CONFIG = yaml.safe_load((Path(__file__).parents[2] / "ops" / "prometheus" / "prometheus.yml").read_text())


def panels_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in document["panels"] if panel["type"] != "row"]


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_the_committed_json_is_what_the_code_makes(board: Board) -> None:
    assert (FOLDER / f"{board.name}.json").read_text() == render(board), "run python -m ops.dashboards"


def test_no_other_json_is_committed() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == {board.name for board in BOARDS}


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.name)
def test_every_panel_in_the_json_says_what_it_is(board: Board) -> None:
    for panel in panels_of(json.loads(render(board))):
        assert panel["title"]
        assert panel["description"].endswith((".", "requires: GPU", "requires: DCGM", "requires: KubeRay"))
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert all(target["expr"] and target["legendFormat"] for target in panel["targets"])


def test_panels_do_not_overlap() -> None:
    for board in BOARDS:
        taken: set[tuple[int, int]] = set()
        for panel in json.loads(render(board))["panels"]:
            at = panel["gridPos"]
            cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
            assert not cells & taken, panel["title"]
            taken |= cells


@pytest.mark.parametrize("panel", PANELS.values(), ids=PANELS.keys())
def test_a_panel_asks_for_metrics_that_exist_and_says_what_they_require(panel: Panel) -> None:
    asked = set().union(*(names_in(query.expr) for query in panel.queries))
    assert asked <= METRICS.keys() | parts() | RECORDED.keys() | EXTERNAL.keys() | {"up"}
    ours = {"GPU"} if "cn_gpu_memory_bytes" in asked else set()
    assert {EXTERNAL[name] for name in asked & EXTERNAL.keys() if EXTERNAL[name]} | ours == {panel.requires} - {""}


def test_nothing_is_drawn_where_there_is_nothing() -> None:
    """`or vector(0)` draws a calm line over a metric that does not exist."""
    assert not [title for title, panel in PANELS.items() for query in panel.queries if "vector(" in query.expr]


def test_every_metric_is_on_a_board() -> None:
    asked = {name for panel in PANELS.values() for query in panel.queries for name in names_in(query.expr)}
    bare = {re.sub("_(bucket|sum|count)$", "", name) for name in asked}
    in_rules = {"cn_key_expiry_timestamp"}  # an alert's; nobody looks at a date as a line
    assert METRICS.keys() - bare == in_rules


@pytest.mark.parametrize("name", sorted(name for name in EXTERNAL if name.startswith("ray_")))
def test_what_is_asked_of_ray_is_scraped(name: str) -> None:
    rules = [rule for job in CONFIG["scrape_configs"] for rule in job["metric_relabel_configs"]]
    (kept,) = [rule["regex"] for rule in rules if rule.get("action") == "keep"]
    assert re.fullmatch(kept, name)


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ('sum by (le, tenant) (rate(cn_a_bucket{le="1",x=~"b|c"}[5m]))', {"cn_a_bucket"}),
        ("max(cn_a) / scalar(sum(cn_b)) > 0 and cn:c:rate5m < 0.8 * cn:d", {"cn_a", "cn_b", "cn:c:rate5m", "cn:d"}),
        ("cn_a - time() < 7 * 86400 or absent(cn_b)", {"cn_a", "cn_b"}),
    ],
)
def test_the_names_in_a_query_are_found(query: str, wanted: set[str]) -> None:
    assert names_in(query) == wanted
