"""The page of threats names tests that are there, and every fault has one."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/threats.md").read_text()
ROWS = re.findall(r"^\| (\d+) \|(.*)$", PAGE, re.MULTILINE)
POINTER = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_all_faults_are_listed() -> None:
    assert [int(number) for number, _ in ROWS] == list(range(1, 26))


def test_every_fault_has_a_test() -> None:
    assert [number for number, row in ROWS if not POINTER.search(row)] == []


def test_the_tests_are_there() -> None:
    pointers = POINTER.findall(PAGE)
    absent = [
        f"{path}::{name}"
        for path, name in pointers
        if not (ROOT / path).exists() or not re.search(rf"def {name}\(", (ROOT / path).read_text())
    ]
    assert len(pointers) > 30
    assert absent == []


def test_the_bounds_are_where_it_says() -> None:
    assert all((ROOT / path).exists() for path in re.findall(r"`(serve/[\w/]+\.py)`", PAGE))
