"""Places: where a source file can be mutated, and what is written there instead.

A place is a span of the source and its replacement. Left out is what no test can mean: docstrings, annotations (and so
the metadata of `Annotated`), type variables and aliases, `if TYPE_CHECKING`, `__all__`, the texts of log records and of
help, and sentences: in `raise` what has a blank, elsewhere what ends with a full stop too. An f-string is one place:
before Python 3.12 its parts have no positions.
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

COMPARE = {
    ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="), ast.NotEq: ("!=", "=="), ast.Is: (r"\bis\b", "is not"), ast.IsNot: (r"\bis\s+not\b", "is"),
    ast.In: (r"\bin\b", "not in"), ast.NotIn: (r"\bnot\s+in\b", "in"),
}  # fmt: skip
ARITHMETIC = {
    ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*"), ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"), ast.Pow: ("**", "*"), ast.MatMult: ("@", "*"), ast.BitOr: ("|", "&"), ast.BitAnd: ("&", "|"),
    ast.BitXor: ("^", "&"), ast.LShift: ("<<", ">>"), ast.RShift: (">>", "<<"),
}  # fmt: skip
BOOLEAN = {ast.And: (r"\band\b", "or"), ast.Or: (r"\bor\b", "and")}
LOG = {"debug", "info", "warning", "warn", "error", "exception", "critical"}
TEXTS = {"help", "description", "summary", "title"}  # keywords of typer, FastAPI and pydantic


@dataclass(frozen=True)
class Place:
    """One mutant: `text` in the bytes `start` to `end` of the file at `path`.

    `lines` are those of the statement, as a tracer may name any of them; `at_import` says that they run on import.
    """

    path: str
    line: int
    operator: str
    start: int
    end: int
    text: str
    lines: range
    at_import: bool

    def apply(self, source: bytes) -> bytes:
        """The source with the mutant in it."""
        return source[: self.start] + self.text.encode() + source[self.end :]

    def diff(self, source: bytes) -> tuple[str, str]:
        """The line before and after, stripped; a span of several lines is joined to one."""
        first, last = source.rfind(b"\n", 0, self.start) + 1, source.find(b"\n", self.end)
        old, head, tail = source[first:last], source[first : self.start], source[self.end : last]
        before, after = (" ".join(text.decode().split()) for text in (old, head + self.text.encode() + tail))
        return before, after


def draw(root: Path, packages: Sequence[str], count: int, seed: int) -> list[Place]:
    """A uniform sample of the places under `packages` (folders or files below `root`), without repeats, by seed."""
    sources: dict[str, bytes] = {}
    for package in packages:
        for file in sorted((root / package).rglob("*.py")) if (root / package).is_dir() else [root / package]:
            sources[file.relative_to(root).as_posix()] = file.read_bytes()
    found = [place for path, source in sorted(sources.items()) for place in places(path, source)]
    random.Random(seed).shuffle(found)
    good = (place for place in found if valid(place, sources[place.path]))
    return [place for place, _ in zip(good, range(count), strict=False)]


def valid(place: Place, source: bytes) -> bool:
    """Whether the mutant compiles to another tree."""
    try:
        mutated = ast.parse(place.apply(source))
        compile(mutated, place.path, "exec")
    except SyntaxError:
        return False
    return ast.dump(mutated) != ast.dump(ast.parse(source))


def places(path: str, source: bytes) -> list[Place]:
    """Every place of one file, in the order of the tree."""
    finder = _Finder(path, source)
    finder.visit(ast.parse(source))
    return finder.found


class _Finder:
    def __init__(self, path: str, source: bytes) -> None:
        self.found: list[Place] = []
        self._path, self._source = path, source
        self._offsets = [0, *(match.end() for match in re.finditer(rb"\n", source))]
        self._lines, self._depth, self._mute, self._default = range(1, 2), 0, "", False

    def visit(self, node: ast.AST) -> None:
        kept = self._lines, self._depth, self._mute, self._default
        head = node.pattern if isinstance(node, ast.match_case) else node
        if isinstance(node, ast.stmt | ast.excepthandler | ast.match_case):
            assert isinstance(head, ast.stmt | ast.excepthandler | ast.pattern)
            body: list[ast.stmt] = getattr(node, "body", [])
            last = body[0].lineno - 1 if body else head.end_lineno or head.lineno
            first = min([head.lineno, *(each.lineno for each in getattr(node, "decorator_list", []))])
            self._lines = range(first, max(head.lineno, last) + 1)
        self._places(node)
        for child, field in _children(node):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                self._depth = kept[1] + (field == "body")
            self._default = kept[3] or field in ("defaults", "kw_defaults")
            self._mute = kept[2] or _muted(node, field)
            self.visit(child)
        self._lines, self._depth, self._mute, self._default = kept

    def _span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        end = self._offsets[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
        return self._offsets[node.lineno - 1] + node.col_offset, end

    def _text(self, node: ast.expr) -> str:
        start, end = self._span(node)
        return self._source[start:end].decode()

    def _add(self, operator: str, span: tuple[int, int], text: str) -> None:
        line = self._source.count(b"\n", 0, span[0]) + 1
        at_import = self._depth == 0
        self.found.append(Place(self._path, line, operator, *span, text, self._lines, at_import))

    def _token(self, operator: str, left: ast.expr, right: ast.expr, token: tuple[str, str], suffix: str = "") -> None:
        """Replace the operator's token between two operands, comments aside."""
        start, end = self._span(left)[1], self._span(right)[0]
        pattern = (token[0] if token[0].startswith("\\") else re.escape(token[0])) + suffix
        for match in re.finditer(rb"#[^\n]*|(" + pattern.encode() + rb")", self._source[start:end]):
            if match.group(1):
                self._add(operator, (start + match.start(1), start + match.end(1)), token[1] + suffix)
                return

    def _places(self, node: ast.AST) -> None:
        match node:
            case ast.Compare():
                for (left, right), op in zip(pairwise([node.left, *node.comparators]), node.ops, strict=True):
                    self._token("compare", left, right, COMPARE[type(op)])
            case ast.BoolOp():
                for left, right in pairwise(node.values):
                    self._token("boolean", left, right, BOOLEAN[type(node.op)])
            case ast.BinOp() if self._depth or not isinstance(node.op, ast.BitOr):  # a type's alias
                self._token("arithmetic", node.left, node.right, ARITHMETIC[type(node.op)])
            case ast.UnaryOp(op=ast.Not()):
                self._add("negation", self._span(node), f"({self._text(node.operand)})")
            case ast.UnaryOp(op=ast.USub()):
                self._add("arithmetic", self._span(node), f"({self._text(node.operand)})")
            case ast.Constant() | ast.JoinedStr():
                self._constant(node)
            case ast.Return(value=ast.expr() as value) if not _is_none(value):
                self._add("return", self._span(node), "return None")
            case ast.Break() | ast.Continue():
                self._add("jump", self._span(node), "continue" if isinstance(node, ast.Break) else "break")
            case ast.AugAssign():
                self._token("arithmetic", node.target, node.value, ARITHMETIC[type(node.op)], "=")
        if isinstance(node, ast.stmt) and _acts(node):
            self._add("removal", self._span(node), "pass")
        for test in _conditions(node):
            if not isinstance(test, ast.Compare | ast.BoolOp | ast.Constant) and not _is_not(test):
                self._add("negation", self._span(test), f"not ({self._text(test)})")

    def _constant(self, node: ast.Constant | ast.JoinedStr) -> None:
        value = node.value if isinstance(node, ast.Constant) else self._text(node)
        if isinstance(value, str | bytes):
            sentence = " " in str(value) and (self._mute == "sentences" or str(value).endswith("."))
            if self._mute != "all" and not sentence:
                text = '"mutant"' if isinstance(value, str) else 'b"mutant"'
                self._add("default" if self._default else "string", self._span(node), text)
        elif isinstance(value, bool | int | float):
            text = repr(not value if isinstance(value, bool) else value + 1)
            self._add("default" if self._default else "number", self._span(node), text)


def _children(node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """The children that can hold places, with the names of their fields."""
    if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Assign) and "__all__" in _names(node.targets)):
        return
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns") or (isinstance(node, ast.Call | ast.Subscript) and _typing(node, field)):
            continue
        if isinstance(node, ast.If) and field == "body" and _names([node.test]) & {"TYPE_CHECKING"}:
            continue
        for child in value if isinstance(value, list) else [value]:
            docstring = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
            cast = isinstance(node, ast.Call) and "cast" in _names([node.func]) and child is node.args[0]
            if isinstance(child, ast.AST) and not docstring and not cast:
                yield child, field


def _names(nodes: Sequence[ast.expr]) -> set[str]:
    """The last parts of names."""
    return {node.id if isinstance(node, ast.Name) else getattr(node, "attr", "") for node in nodes}


def _typing(node: ast.Call | ast.Subscript, field: str) -> bool:
    """Whether a field holds types: `TypeVar("T")`, `Literal["a"]`, `Annotated` as a value."""
    if isinstance(node, ast.Subscript):
        return field == "slice" and bool(_names([node.value]) & {"Literal", "Annotated"})
    return field in ("args", "keywords") and bool(_names([node.func]) & {"TypeVar", "NewType"})


def _muted(node: ast.AST, field: str) -> str:
    """Which strings in a field are for people: all in log records and help, sentences in `raise`."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return "all" if field != "func" and node.func.attr in LOG else ""
    if isinstance(node, ast.keyword):
        return "all" if node.arg in TEXTS else ""
    return "sentences" if isinstance(node, ast.Raise) else ""


def _acts(node: ast.stmt) -> bool:
    """Whether a statement has an effect beyond a local name."""
    match node:
        case ast.Expr(value=ast.Call() | ast.Await()) | ast.AugAssign() | ast.Delete() | ast.Raise():
            return True
        case ast.Assign(targets=targets):
            return any(isinstance(target, ast.Attribute | ast.Subscript) for target in targets)
        case ast.AnnAssign(target=ast.Attribute() | ast.Subscript(), value=ast.expr()):
            return True
    return False


def _conditions(node: ast.AST) -> Sequence[ast.expr]:
    if isinstance(node, ast.If | ast.While | ast.IfExp | ast.Assert):
        return [] if _names([node.test]) & {"TYPE_CHECKING"} else [node.test]
    return node.ifs if isinstance(node, ast.comprehension) else []


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _is_not(node: ast.expr) -> bool:
    return isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
