from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ops.faults.checker import Breach
from ops.load import soakpage
from ops.load.accounts import Books
from ops.load.deeds import Deed
from ops.load.figures import Waits
from ops.load.leaks import handles, memory, stored
from ops.load.soak import Soaked
from tests.ops.load.test_leaks import samples

BOOKS = Books(9, 8, 7, 1, 1, [], [], [], {"ConnectionRefusedError": 2}, 3, 0, 0)


@pytest.fixture
def soaked() -> Soaked:
    watched, deeds = samples(events=8.0, holds=8.0, keys=0.0), [Deed(20.0, 22.0, "kill sampler")]
    return Soaked(
        command="python -m ops.load --soak 1",
        began=datetime(2026, 1, 2, tzinfo=UTC),
        minutes=1.0,
        commit="abc",
        machine={"cpu": "a processor", "cores": 2},
        database="sqlite",
        load=0.7,
        requests_s=1.5,
        every=20.0,
        warm_s=5.0,
        deeds=deeds,
        samples=watched,
        memory=list(memory(watched, 0.0, 10.0)),
        rest=[*handles(watched, 0.0, 10.0), *stored(watched, deeds, 0.0, 10.0, 4.0)],
        books=BOOKS,
        waits=Waits(7, 1.0, 2.0),
        late=Waits(9, 0.001, 0.002),
    )


def test_what_grows_is_told(soaked: Soaked) -> None:
    assert {(one.of, one.what) for one in soaked.leaks} >= {("holds", "rows"), ("sampler 1", "handles")}
    assert ("events", "rows a job") not in {(one.of, one.what) for one in soaked.leaks}
    found = json.loads(json.dumps(soakpage.to_json(soaked)))
    assert found["samples"] == 40
    assert found["clean"] is True
    html = soakpage.to_html(soaked)
    assert html.count("<svg") == 4
    assert "kill sampler" in html


@pytest.mark.parametrize(
    "wrong",
    [
        {"breaches": [Breach("lost", "job_1", "no row")]},
        {"failed": ["request 1"]},
        {"unexcused": ["500"]},
        {"disorder": 1},
        {"missing": 1},
    ],
)
def test_books_are_clean_only_where_nothing_is_wrong(wrong: dict[str, object]) -> None:
    assert BOOKS.clean
    assert not replace(BOOKS, **wrong).clean  # type: ignore[arg-type]


def test_a_soak_is_sound_where_all_was_done_and_nothing_grew(soaked: Soaked) -> None:
    assert not soaked.sound
    flat = replace(soaked, memory=[], rest=[])
    assert flat.sound
    assert not replace(flat, deeds=[Deed(20.0, 22.0, "kill sampler", "there is no sampler to kill")]).sound
    assert not replace(flat, books=replace(BOOKS, missing=1)).sound
