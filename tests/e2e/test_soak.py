"""A minute and a half of `python -m ops.load --soak`: all that is done to a platform, once, and the books at the end.

Whether anything grows takes hours to say; here it is held that everything was watched.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from ops.faults.rig import ROLES
from ops.load.deeds import ORDER
from ops.load.leaks import generations
from ops.load.soak import soak
from ops.load.soakpage import write

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(1500),
    pytest.mark.usefixtures("alone"),
    pytest.mark.filterwarnings("ignore:The ``noload`` loader:DeprecationWarning"),  # of MLflow
]


def test_nothing_is_lost_while_models_keys_and_processes_change(tmp_path: Path) -> None:
    found = soak(
        tmp_path,
        database=None,
        minutes=1.5,
        every=9.0,
        backlog_s=0.0,
        seed=1,
        command="a test",
        step=print,
        watch=lambda run: None,
        say=print,
        requests_s=0.3,
    )
    write(found, tmp_path)
    books = found.books
    assert books.breaches == []
    assert books.failed == []
    assert books.unexcused == []
    assert (books.disorder, books.missing) == (0, 0)
    assert books.accepted + books.refused >= books.requests > 20
    assert books.done > 0

    assert [deed.failed for deed in found.deeds] == [""] * len(found.deeds)
    assert {deed.kind for deed in found.deeds} == set(ORDER)

    seen = Counter(name.rpartition(" ")[0] for name in generations(found.samples))
    assert seen.keys() >= ROLES.keys()
    for deed in found.deeds:
        if deed.kill:
            assert seen[deed.kind.removeprefix("kill ")] >= 2
    assert found.samples[-1].rows["jobs"] >= books.accepted
    assert (tmp_path / "soak.html").exists()
