"""`--quick`: the tests for a commit. What they leave out stands in slow.txt; `--measure` writes it anew.

By hand: folders and files, which are not even imported, and what is slow in a file that has a line with a plus: its
other tests are worth their time. Measured: tests, each with all the fixtures that it uses.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parent
LIST = TESTS / "slow.txt"
SERVERS = ("postgres", "azurite")  # names of fixtures, marks, or in the ids of tests that ask for one as they run
SLOWEST_S = 0.15  # of a test
SLOWEST_ALL_S = 0.25  # of a test with all its parameters and what it shares with others

SLOW = frozenset(line for line in LIST.read_text().splitlines() if line[0] not in "#+")
"""Folders, files and tests below tests/ that `--quick` leaves out."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("controlnet")
    group.addoption("--quick", action="store_true", help="leave out what takes long or needs a server")
    group.addoption("--measure", action="store_true", help="write tests/slow.txt by what the tests of this run take")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("measure"):
        config.pluginmanager.register(Cost())
        if not hasattr(config, "workerinput"):  # of pytest-xdist, where each report comes here too
            config.pluginmanager.register(Measure())


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """None leaves it to the others."""
    quick = config.getoption("quick") or config.getoption("measure")
    path = collection_path.relative_to(TESTS).as_posix() if collection_path.is_relative_to(TESTS) else ""
    return True if quick and path in SLOW else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item], config: pytest.Config) -> None:
    if config.getoption("measure"):
        leave(config, items, {item for item in items if needs_more(item)})
    elif config.getoption("quick"):
        leave(config, items, {item for item in items if needs_more(item) or named(item.nodeid) in SLOW})


def leave(config: pytest.Config, items: list[pytest.Item], left: set[pytest.Item]) -> None:
    """Leave some out."""
    items[:] = [item for item in items if item not in left]
    config.hook.pytest_deselected(items=left)


def needs_more(item: pytest.Item) -> bool:
    """Whether it needs a server or a GPU."""
    asked = (item.nodeid, *getattr(item, "fixturenames", ()), *(mark.name for mark in item.iter_markers()))
    return "gpu" in asked or any(server in name for server in SERVERS for name in asked)


def named(nodeid: str) -> str:
    """A test as it stands in the list: below tests/, without parameters."""
    return nodeid.removeprefix("tests/").partition("[")[0]


class Cost:
    """Tells in each test's report what it takes: by itself, and of fixtures that others share with it."""

    def __init__(self) -> None:
        self._fixtures: dict[str, tuple[bool, float]] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Generator[None, object, object]:
        began = time.perf_counter()
        try:
            return (yield)
        finally:
            self._fixtures[fixturedef.argname] = fixturedef.scope != "function", time.perf_counter() - began

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Function, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if call.when == "call":
            used = [self._fixtures[name] for name in item.fixturenames if name in self._fixtures]
            alone = call.duration + sum(seconds for shared, seconds in used if not shared)
            report.user_properties += [("alone", alone), ("shared", sum(seconds for shared, seconds in used if shared))]
        return report


class Measure:
    """Adds up what tests take, and writes the list in the end."""

    def __init__(self) -> None:
        self.spent: dict[str, Spent] = defaultdict(Spent)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            told = dict(report.user_properties)
            self.spent[named(report.nodeid)].add(float(told["alone"]), float(told["shared"]))

    def pytest_sessionfinish(self) -> None:
        LIST.write_text(listed(LIST.read_text(), self.spent))


@dataclass
class Spent:
    """Seconds of a test with all its parameters."""

    alone: float = 0.0
    shared: float = 0.0
    times: int = 0

    def add(self, alone: float, shared: float) -> None:
        self.alone += alone
        self.shared = max(self.shared, shared)
        self.times += 1

    @property
    def slow(self) -> bool:
        return self.alone / max(1, self.times) > SLOWEST_S or self.alone + self.shared > SLOWEST_ALL_S


def listed(before: str, spent: Mapping[str, Spent]) -> str:
    """The list with the tests that are slow now; files, folders and tests that were not run as before."""
    worth = {line[1:] for line in before.splitlines() if line.startswith("+")}

    def measured(test: str) -> bool:
        return test in spent and test.partition("::")[0] not in worth

    lines = [line for line in before.splitlines() if not measured(line)]
    comments = [line for line in lines if line.startswith("#")]
    slow = [test for test, seconds in spent.items() if measured(test) and seconds.slow]
    return "\n".join([*comments, *sorted({*lines, *slow} - {*comments})]) + "\n"
