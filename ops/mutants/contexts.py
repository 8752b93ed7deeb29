"""A pytest plugin: names to coverage which test runs (`--mutants-record`), or runs chosen tests (`--mutants-tests`).

A test's context holds its setup and teardown. What a fixture of a wider scope executes has a context of its own, for it
runs within the first test that asks and belongs to all that ask. Subprocesses read `MUTANTS_CONTEXT`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import coverage
import pytest

FIXTURE = "fixture "


class Record:
    """Writes `{test: [seconds, contexts of its wider fixtures]}` at the end."""

    def __init__(self, path: Path) -> None:
        self._path, self._context = path, ""
        self._tests: dict[str, tuple[float, list[str]]] = {}

    @contextmanager
    def _within(self, context: str) -> Iterator[None]:
        before = self._context
        self._enter(context)
        try:
            yield
        finally:
            self._enter(before)

    def _enter(self, context: str) -> None:
        self._context = os.environ["MUTANTS_CONTEXT"] = context
        if (running := coverage.Coverage.current()) is not None:
            running.switch_context(context)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Function) -> Generator[None, object, object]:
        """A test, with setup and teardown."""
        definitions = [each for known in item._fixtureinfo.name2fixturedefs.values() for each in known]
        self._tests[item.nodeid] = (0.0, [_name(each) for each in definitions if each.scope != "function"])
        with self._within(item.nodeid):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[object]) -> Generator[None, object, object]:
        """A fixture that tests share."""
        with self._within(self._context if fixturedef.scope == "function" else _name(fixturedef)):
            return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add the seconds of one phase."""
        seconds, names = self._tests[report.nodeid]
        self._tests[report.nodeid] = (seconds + report.duration, names)

    def pytest_sessionfinish(self) -> None:
        """Write the file."""
        self._path.write_text(json.dumps(self._tests))


class Choice:
    """Runs the tests that a file lists, in the order of the selection; with `rest`, then all others too."""

    def __init__(self, path: Path) -> None:
        self._chosen, self._rest = json.loads(path.read_text())

    def pytest_configure(self, config: pytest.Config) -> None:
        """Collect no more files than needed."""
        if not self._rest:
            config.args = sorted({name.split("::")[0] for name in self._chosen})

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Choose and order."""
        chosen = set(self._chosen)
        others = [item for item in items if self._rest and item.nodeid not in chosen]
        items[:] = [item for item in items if item.nodeid in chosen] + others


def _name(fixture: pytest.FixtureDef[object]) -> str:
    return f"{FIXTURE}{fixture.argname} {fixture.baseid}"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The two options."""
    parser.addoption("--mutants-record", type=Path)
    parser.addoption("--mutants-tests", type=Path)


def pytest_configure(config: pytest.Config) -> None:
    """Register what the options ask for."""
    if (path := config.getoption("--mutants-record")) is not None:
        config.pluginmanager.register(Record(path))
    if (path := config.getoption("--mutants-tests")) is not None:
        config.pluginmanager.register(Choice(path))
