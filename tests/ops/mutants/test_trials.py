"""Which tests a mutant needs, in a small tree of its own, and what they say."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.mutants.places import Place, places
from ops.mutants.trials import Selection, Trial

SUMS = """\
LIMIT = 9

def add(a, b):
    return a + b

def shared():
    return 2 * 3

def elsewhere():
    print(4)

def never():
    return 5
"""

TESTS = """\
import subprocess, sys
import pytest
from serve import sums

@pytest.fixture(scope="module")
def product():
    return sums.shared()

def test_add():
    assert sums.add(1, 1) == 2

def test_first(product):
    pass

def test_second(product):
    assert product == 6

def test_process():
    subprocess.run([sys.executable, "-c", "from serve import sums; sums.elsewhere()"], check=True)
"""


@pytest.fixture(scope="module", autouse=True)
def _no_other_plugins() -> Iterator[None]:
    """The small tree needs none, and they take seconds to import."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    for package in ("serve", "controlnet", "ops"):
        (root / package).mkdir()
        (root / package / "__init__.py").touch()
    shutil.copytree(Path(__file__).parents[3] / "ops" / "mutants", root / "ops" / "mutants")
    (root / "serve" / "sums.py").write_text(SUMS)
    (root / "test_sums.py").write_text(TESTS)
    return root


@pytest.fixture(scope="module")
def selection(root: Path) -> Selection:
    return Selection(root, ["test_sums.py"])


def place(text: str) -> Place:
    return next(place for place in places("serve/sums.py", SUMS.encode()) if place.text == text)


@pytest.mark.parametrize(
    ("text", "tests", "rest"),
    [
        ("-", ["test_add"], False),
        ("/", ["test_first", "test_second"], False),
        ("5", ["test_process"], False),
        ("6", [], False),
        ("10", ["test_add", "test_first", "test_second", "test_process"], True),
    ],
)
def test_a_mutant_needs_the_tests_that_execute_it(selection, text, tests, rest):
    assert selection.tests(place(text)) == ([f"test_sums.py::{test}" for test in tests], rest)


def test_a_verdict_names_the_test_and_leaves_the_file_as_it_was(root, selection):
    verdict = Trial(root, selection).judge(place("/"))
    assert (verdict.outcome, verdict.tests, verdict.by) == ("caught", 2, "test_sums.py::test_second")
    assert (root / "serve" / "sums.py").read_text() == SUMS


def test_a_doubted_verdict_is_asked_of_all_tests(root, selection):
    verdict = Trial(root, selection).judge(place("6"), again=True)
    assert (verdict.outcome, verdict.tests) == ("survived", 4)


def test_what_nothing_executes_is_not_run(root, selection):
    assert Trial(root, selection).judge(place("6")).outcome == "never executed"
