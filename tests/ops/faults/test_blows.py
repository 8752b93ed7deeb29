from __future__ import annotations

import asyncio
import json
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest

from ops.faults import blows
from ops.faults.blows import FROZEN_S, Blobs, Database, Missed, Site, kinds, severe
from ops.faults.draw import ROUND, TIMES, draw
from ops.faults.proxy import BlobProxy
from ops.services import Azurite
from serve.config import JOBS, Settings
from serve.jobs.artifacts import ArtifactStore
from serve.jobs.database import StoreUnavailable

A_MINUTE_S = 60.0


@pytest.mark.parametrize("database", get_args(Database))
@pytest.mark.parametrize("disk", [True, False])
def test_what_is_severe_can_be_struck(database: Database, disk: bool) -> None:
    found = kinds(database, disk)
    assert len(severe(found)) == (5 if disk else 3)
    assert set(severe(found)) <= found.keys()
    assert ("power cut" in found) is disk


@pytest.mark.parametrize("database", get_args(Database))
def test_ten_campaigns_have_each_kind_and_a_campaign_takes_minutes(database: Database) -> None:
    names = list(kinds(database, disk=True, blobs=database == "postgresql"))
    campaigns = [draw(seed, names, severe(names), 16) for seed in range(ROUND)]
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


@pytest.mark.azurite
def test_a_blob_that_is_leased_cannot_be_deleted_for_a_while(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> None:
    azurite.make_container("struck")
    artifacts = ArtifactStore.open("az://struck", azurite.options)
    keys = [asyncio.run(artifacts.put("press", b"pixels", ".png"))]
    ends = []

    def sleep(seconds: float) -> None:
        assert seconds == FROZEN_S
        ends.append(asyncio.run(artifacts.delete(lambda: keys)))

    monkeypatch.setattr(blows, "time", SimpleNamespace(sleep=sleep))
    with BlobProxy(azurite.port) as proxy:
        struck = Site(*[Any] * 6, Blobs(azurite, proxy, "struck"), random.Random(0))
        kinds("postgresql", disk=False, blobs=True)["file that cannot be deleted"](struck)
    ends.append(asyncio.run(artifacts.delete(lambda: keys)))
    assert [found[keys[0]] is None for found in ends] == [False, True]


@pytest.mark.azurite
def test_a_platform_is_told_of_the_blob_service_by_way_of_the_proxy(azurite: Azurite) -> None:
    azurite.make_container("proxied")
    with BlobProxy(azurite.port) as proxy:
        settings = Settings(
            _env_file=None,
            **{
                name.removeprefix("CN_").lower(): json.loads(value) if value.startswith("{") else value
                for name, value in Blobs(azurite, proxy, "proxied").settings.items()
            },
        )
        artifacts = ArtifactStore.open(settings.artifacts_url, settings.artifacts_options)
        assert asyncio.run(artifacts.put("press", b"pixels", ".png")).startswith("press/")
        proxy.away = True
        proxy.cut()
        with pytest.raises(StoreUnavailable):
            asyncio.run(artifacts.put("press", b"others", ".png"))
