"""Trials: what a selection of tests says about a mutant, in copies of the working tree.

One run of the selection under coverage says which tests execute which lines, in this process and in the Python
processes that it starts. A place inside a function is tried by the tests that execute its statement; a place that runs
on import (or that something outside a test executes) by the whole selection, with the tests that execute its file
first. Three things are not seen: a forked child, a cached result that a later test reads, and a test that fails by
itself. `again` doubts every answer: the whole selection is asked about a mutant that survived, and the test that caught
one is run alone without it, where it has to pass.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import coverage
import pytest

from ops.mutants.contexts import FIXTURE
from ops.mutants.places import Place

GRACE = 60.0  # seconds
SLOWER = 4.0  # times what the start and the same tests took before: others run beside
RCFILE = """[run]
source = {folders}
data_file = {root}/build/mutants/coverage
context = ${{MUTANTS_CONTEXT-}}
parallel = true
sigterm = true
core = ctrace
disable_warnings = no-data-collected, module-not-imported, module-not-measured, module-not-python, couldnt-parse
"""


class RedError(Exception):
    """The selection fails without a mutant."""


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant, how many tests were run, and which failed.

    Outcomes: caught, timeout; survived, never executed, fails alone (the test fails without the mutant too).
    """

    outcome: str
    tests: int
    by: str
    seconds: float

    @property
    def caught(self) -> bool:
        """A mutant that never ends is noticed."""
        return self.outcome in ("caught", "timeout")


def copy_tree(source: Path, target: Path) -> None:
    """Copy what git tracks or would track, as it is in the working tree."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=source, capture_output=True, check=True
    ).stdout.decode()
    for name in filter(None, listed.split("\0")):
        if (source / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, target / name)


class Selection:
    """Tests given as arguments of pytest, and what each of them executes."""

    def __init__(self, root: Path, arguments: Sequence[str]) -> None:
        """Run the selection once in the copy at `root`. Raises RedError with pytest's last lines."""
        self.arguments = arguments
        folder = root / "build" / "mutants"
        folder.mkdir(parents=True)
        folders = "".join(f"\n    {root / package}" for package in ("controlnet", "serve"))
        (folder / "rcfile").write_text(RCFILE.format(root=root, folders=folders))
        command = [sys.executable, "-m", "coverage", "run", f"--rcfile={folder / 'rcfile'}", "-m", "pytest", "-q"]
        environ = _environ(root) | {"COVERAGE_PROCESS_START": str(folder / "rcfile")}
        began = time.monotonic()
        code, said = _run([*command, *_plugin("--mutants-record", folder / "tests"), *arguments], root, environ, None)
        self.seconds = time.monotonic() - began
        if code:
            raise RedError("\n".join(said.splitlines()[-20:]))
        self._tests: dict[str, tuple[float, list[str]]] = json.loads((folder / "tests").read_text())
        self._start: float = self.seconds - sum(seconds for seconds, _ in self._tests.values())
        measured = coverage.Coverage(config_file=str(folder / "rcfile"))
        measured.combine()
        self._data, self._root = measured.get_data(), root

    def __len__(self) -> int:
        return len(self._tests)

    def spent(self, tests: Sequence[str]) -> float:
        """Seconds of the start and of the tests."""
        return self._start + sum(self._tests[test][0] for test in tests if test in self._tests)

    def tests(self, place: Place) -> tuple[list[str], bool]:
        """The tests that a place needs, and whether all others follow them."""
        known = self._data.contexts_by_lineno(str(self._root / place.path))
        lines = known if place.at_import else place.lines
        contexts = {context for line in lines for context in known.get(line, ())}
        fixtures = {context for context in contexts if context.startswith(FIXTURE)}
        tests = [test for test, (_, names) in self._tests.items() if test in contexts or fixtures & set(names)]
        listed = {name for _, names in self._tests.values() for name in names}
        return tests, bool(known) and (place.at_import or "" in contexts or not fixtures <= listed)


class Trial:
    """A copy of the tree in which one mutant at a time is tried."""

    def __init__(self, root: Path, selection: Selection) -> None:
        self._root, self._selection = root, selection

    def judge(self, place: Place, again: bool = False) -> Verdict:
        """Run what the place needs; with `again`, doubt the answer (see the module)."""
        tests, rest = self._selection.tests(place)
        if not (tests or rest or again):
            return Verdict("never executed", 0, "", 0.0)
        verdict = self._run(place, tests, rest or not tests)
        if again and verdict.outcome == "survived" and verdict.tests < len(self._selection):
            verdict = self._run(place, tests, True)
        if again and verdict.by and self._run(None, [verdict.by], False).caught:
            return replace(verdict, outcome="fails alone")
        return verdict

    def _run(self, place: Place | None, tests: Sequence[str], rest: bool) -> Verdict:
        limit = GRACE + SLOWER * (self._selection.seconds if rest else self._selection.spent(tests))
        listed = self._root / "build" / "mutants" / "chosen"
        listed.write_text(json.dumps([tests, rest]))
        command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "--tb=no", *_plugin("--mutants-tests", listed)]
        began = time.monotonic()
        with self._mutated(place) if place else nullcontext():
            code, said = _run([*command, *self._selection.arguments], self._root, _environ(self._root), limit)
        seconds, count = time.monotonic() - began, len(self._selection) if rest else len(tests)
        if code is None:
            return Verdict("timeout", count, "", seconds)
        failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", said, re.MULTILINE)
        outcome = "survived" if code in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED) else "caught"
        return Verdict(outcome, count, failed.group(1) if failed else "", seconds)

    @contextmanager
    def _mutated(self, place: Place) -> Iterator[None]:
        file = self._root / place.path
        source = file.read_bytes()
        file.write_bytes(place.apply(source))
        try:
            yield
        finally:
            file.write_bytes(source)


def _plugin(option: str, file: Path) -> list[str]:
    return ["-p", "no:cacheprovider", "-p", "ops.mutants.contexts", option, str(file)]


def _environ(root: Path) -> dict[str, str]:
    """Ours, without what its caller adds to pytest's own command line."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    return kept | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}


def _run(command: list[str], root: Path, environ: dict[str, str], limit: float | None) -> tuple[int | None, str]:
    """The exit code and what was said; None where the limit, in seconds, was reached. Leaves no child behind."""
    with (root / "build" / "mutants" / "said").open("w+") as said:
        process = subprocess.Popen(
            command, cwd=root, env=environ, stdout=said, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code: int | None = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        said.seek(0)
        return code, said.read()
