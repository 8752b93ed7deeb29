from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest

from ops.faults import blows
from ops.faults.blows import Database, Missed, kinds, severe
from ops.faults.draw import ROUND, TIMES, draw
from serve.config import JOBS

A_MINUTE_S = 60.0


@pytest.mark.parametrize("database", get_args(Database))
@pytest.mark.parametrize("disk", [True, False])
def test_what_is_severe_can_be_struck(database: Database, disk: bool) -> None:
    assert len(severe(database, disk)) == (5 if disk else 3)
    assert set(severe(database, disk)) <= kinds(database, disk).keys()
    assert ("power cut" in kinds(database, disk)) is disk


@pytest.mark.parametrize("database", get_args(Database))
def test_ten_campaigns_have_each_kind_and_a_campaign_takes_minutes(database: Database) -> None:
    names = list(kinds(database, disk=True))
    campaigns = [draw(seed, names, severe(database, disk=True), 16) for seed in range(ROUND)]
    struck = [blow.kind for campaign in campaigns for blow in campaign]
    assert min(map(struck.count, names)) >= TIMES
    assert max(campaign[-1].at_s for campaign in campaigns) < 7 * A_MINUTE_S


def site(**parts: Any) -> Any:
    return SimpleNamespace(**parts)


def passing(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time passes by sleeping alone; the pauses."""
    now, pauses = [0.0], []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(blows, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    return pauses


def test_a_victim_that_is_not_there_yet_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Callable[[], None]] = [lambda: None]

    def kill(role: str) -> None:
        if not pauses:
            raise RuntimeError(f"there is no {role} process")
        answers.pop()()

    pauses = passing(monkeypatch)
    kinds("sqlite", disk=False)["kill sampler"](site(rig=SimpleNamespace(kill=kill)))
    assert answers == []


def test_a_victim_that_never_comes_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(role: str) -> None:
        raise RuntimeError(f"there is no {role} process")

    passing(monkeypatch)
    with pytest.raises(Missed, match="there is no sampler process, for 90 s"):
        kinds("sqlite", disk=False)["kill sampler"](site(rig=SimpleNamespace(kill=kill)))


def test_a_database_that_is_away_takes_no_writes_for_longer_than_a_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    file = tmp_path / "data" / JOBS
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE jobs (id TEXT)")
    meanwhile: list[str] = []

    def sleep(seconds: float) -> None:
        assert seconds > blows.LEASE_S
        with closing(sqlite3.connect(file, timeout=0)) as other, pytest.raises(sqlite3.OperationalError) as refused:
            other.execute("INSERT INTO jobs VALUES ('job_1')")
        meanwhile.append(str(refused.value))

    monkeypatch.setattr(blows, "time", SimpleNamespace(sleep=sleep))
    kinds("sqlite", disk=False)["database away"](site(rig=SimpleNamespace(folder=tmp_path)))
    assert meanwhile == ["database is locked"]
    with closing(sqlite3.connect(file, timeout=0)) as connection:
        connection.execute("INSERT INTO jobs VALUES ('job_1')")


def test_receivers_answer_again_when_the_blow_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    receivers, conducts = [SimpleNamespace(conduct="answer") for _ in range(2)], []
    monkeypatch.setattr(
        blows, "time", SimpleNamespace(sleep=lambda seconds: conducts.append([one.conduct for one in receivers]))
    )
    kinds("sqlite", disk=False)["receivers refuse"](site(receivers=receivers))
    assert conducts == [["refuse", "refuse"]]
    assert [one.conduct for one in receivers] == ["answer", "answer"]
