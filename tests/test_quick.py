"""What `make quick` leaves out is there, and it touches every package all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.quick import SLOW, SLOWEST_S, TESTS, Spent, listed

PACKAGES = sorted(
    file.parent.relative_to(TESTS.parent)
    for top in ("controlnet", "serve", "ops")
    for file in (TESTS.parent / top).rglob("__init__.py")
)
ELSEWHERE = {
    Path("ops/bench/gpu"): "ops/bench/test_gpu.py",
    Path("ops/bench/peers"): "ops/bench/test_static.py",
    Path("ops/dashboards"): "ops/test_dashboards.py",
    Path("serve/jobs/migrations"): "serve/jobs",  # by every database that is opened
    Path("serve/jobs/migrations/versions"): "serve/jobs",
}
"""Packages whose tests are not in the folder of their name."""


def test_what_is_left_out_is_there() -> None:
    """A test that is left out by its name is there if its file has the name."""
    parts = [name.partition("::") for name in sorted(SLOW)]
    assert [file for file, _, _ in parts if not (TESTS / file).exists()] == []
    named = [(file, name.rpartition("::")[2]) for file, _, name in parts if name]
    assert [name for file, name in named if f"def {name}(" not in (TESTS / file).read_text()] == []


@pytest.mark.parametrize("package", PACKAGES, ids=str)
def test_every_package_is_touched(package: Path) -> None:
    place = TESTS / ELSEWHERE.get(package, package)
    files = [file.relative_to(TESTS) for file in ([place] if place.is_file() else place.rglob("test_*.py"))]
    assert any(not SLOW & {name.as_posix() for name in (file, *file.parents)} for file in files)


def test_the_list_is_by_what_tests_take() -> None:
    before = "# By hand and measured.\n+d/test_d.py\na\nb/test_b.py::test_was_slow\nb/test_b.py::test_not_run\n"
    slow, fast = Spent(alone=3 * SLOWEST_S, times=2), Spent(alone=SLOWEST_S, times=4)
    seconds = {
        "b/test_b.py::test_was_slow": fast,
        "c/test_c.py::test_is_slow": slow,
        "d/test_d.py::test_is_worth_it": slow,
    }
    after = "# By hand and measured.\n+d/test_d.py\na\nb/test_b.py::test_not_run\nc/test_c.py::test_is_slow\n"
    assert listed(before, seconds) == after
