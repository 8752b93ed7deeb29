"""The drawing of mutants: what is a place, what is none, and that each is a fault that compiles."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from ops.mutants.places import Place, draw, places, valid

ROOT = Path(__file__).parents[3]

SOURCE = '''\
"""A module's words."""

from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

if TYPE_CHECKING:
    from nowhere import Nothing

__all__ = ["Counter"]
T = TypeVar("T")
Mode = Literal["fast", "slow"]
Either = int | str
NOTHING = cast("Nothing", None)


class Counter:
    """A class's words."""

    size: Annotated[int, "at most", 9]

    def __init__(self, log):
        self.log = log

    def count(self, text: Literal["none"], *, log: "Log") -> "int | None":
        """A method's words."""
        log.info("counted %s", text, extra={"answer": 42})
        raise ValueError(f"text {text!r}: choose another")
'''


def mutants(source: str) -> set[tuple[str, str]]:
    """Operator and mutated source of every place of a module of a few lines."""
    return {(place.operator, place.apply(source.encode()).decode()) for place in places("x.py", source.encode())}


@pytest.mark.parametrize(
    ("operator", "source", "mutant"),
    [
        ("compare", "a < b", "a <= b"),
        ("compare", "(a) not in (b)", "(a) in (b)"),
        ("compare", "a is not b", "a is b"),
        ("compare", "1 < a == b", "1 < a != b"),
        ("boolean", "a and b and c", "a or b and c"),
        ("negation", "not a", "(a)"),
        ("negation", "b if a else c", "b if not (a) else c"),
        ("negation", "[a for a in b if a()]", "[a for a in b if not (a())]"),
        ("arithmetic", "a // b", "a * b"),
        ("arithmetic", "-a", "(a)"),
        ("arithmetic", "a += b", "a -= b"),
        ("arithmetic", "(a  # + one\n + b)", "(a  # + one\n - b)"),
        ("number", "a = 1.5", "a = 2.5"),
        ("number", "a = True", "a = False"),
        ("string", "a = 'name'", 'a = "mutant"'),
        ("string", "é = f'{name}'", 'é = "mutant"'),
        ("string", "a = b''", 'a = b"mutant"'),
        ("default", "def f(a=1): ...", "def f(a=2): ..."),
        ("default", "def f(*, a='b'): ...", 'def f(*, a="mutant"): ...'),
        ("return", "def f(): return a", "def f(): return None"),
        ("removal", "f()", "pass"),
        ("removal", "a.b = c", "pass"),
        ("removal", "raise Missing", "pass"),
        ("jump", "while a: break", "while a: continue"),
        ("string", "raise Missing('name')", 'raise Missing("mutant")'),
    ],
)
def test_an_operator_writes(operator, source, mutant):
    assert (operator, mutant) in mutants(source)


def test_words_and_types_are_no_places():
    found = [ast.parse(SOURCE[place.start : place.end]).body[0] for place in places("x.py", SOURCE.encode())]
    assert [ast.unparse(each) for each in found] == [
        "self.log = log",
        "log.info('counted %s', text, extra={'answer': 42})",
        "42",
        "raise ValueError(f'text {text!r}: choose another')",
    ]


def test_a_function_runs_later_than_its_defaults():
    source = b"@known(1)\ndef f(a=2):\n    return a + 3\n"
    assert [(place.text, place.at_import) for place in places("x.py", source) if place.operator != "arithmetic"] == [
        ("3", True),
        ("return None", False),
        ("4", False),
        ("2", True),
    ]


def test_a_place_knows_the_lines_of_its_statement():
    source = b"def f():\n    if (a and\n        b == 1):\n        g(\n            2,\n        )\n"
    assert {place.text: place.lines for place in places("x.py", source)} == {
        "or": range(2, 4),
        "!=": range(2, 4),
        "2": range(2, 4),
        "pass": range(4, 7),
        "3": range(4, 7),
    }


def test_the_draw_is_the_seeds():
    first, again, other = (draw(ROOT, ["serve/engine/core.py", "serve/jobs/pace.py"], 20, seed) for seed in (1, 1, 2))
    assert first == again != other
    assert len({(place.path, place.start, place.text) for place in first}) == 20


def test_what_does_not_compile_is_not_drawn():
    source = b"a = 1\n"
    assert valid(Place("x.py", 1, "number", 4, 5, "2", range(1, 2), True), source)
    assert not valid(Place("x.py", 1, "number", 4, 5, "(", range(1, 2), True), source)
    assert not valid(Place("x.py", 1, "number", 4, 5, "(1)", range(1, 2), True), source)


def test_every_place_of_a_file_compiles():
    source = (ROOT / "serve" / "engine" / "bisection.py").read_bytes()
    found = places("bisection.py", source)
    assert found
    assert [place for place in found if not valid(place, source)] == []
