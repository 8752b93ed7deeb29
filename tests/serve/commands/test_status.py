"""`cnserve status`, and the line of `cnserve up`."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from serve.cli import app
from serve.commands.status import line, live_line, show, spoken
from serve.config import Settings
from serve.jobs.database import open_database
from serve.jobs.rollouts import Rollout
from serve.jobs.spec import JobSpec
from serve.jobs.store import JobStore, ModelVersion
from serve.views.status import Line, Made, Oldest, RolloutAnswer, ServedVersion, StatusAnswer

FOUND = StatusAnswer(
    ready=True,
    serving=[ServedVersion(model="demo", version="3", digest="sha256:" + "ab" * 32, since=100.0)],
    rollouts=[],
    samplers=2,
    queue=[Line(tenant="red", waiting=3, running=1, gflop=12.0), Line(tenant="blue", waiting=0, running=2, gflop=0)],
    oldest=Oldest(job="job_1", waited_s=75.0),
    overdue=0,
    made=Made(jobs=4, images=9, gflop=80.0),
    failed={"job-failed": 2},
)

FAILED = Rollout("demo", "failed", "4", "3", "prepare", "IndexError: [no]")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobStore]:
    monkeypatch.setenv("CN_DATA_DIR", str(tmp_path))
    engine = open_database(Settings().database_url)
    yield JobStore(engine)
    engine.dispose()


def submit(store: JobStore) -> None:
    spec = JobSpec("a house", "", (1,), steps=4, guidance=7.5, width=64, height=64)
    store.submit("red", spec, ModelVersion("demo", "3", "sha256:aa"))


def test_all_of_it_is_on_the_screen() -> None:
    screen = io.StringIO()
    show(FOUND, Console(file=screen, width=120), now=3700.0)
    text = screen.getvalue()
    for part in ("ready", "demo version 3", "for 1 h", "red", "job_1, waiting for 1 min", "9 images", "2 job-failed"):
        assert part in text


@pytest.mark.parametrize(
    ("rollout", "text"),
    [
        (FAILED, "demo: wanted version 4, serving version 3, because samplers can't load it: IndexError: [no]"),
        (
            replace(FAILED, state="loading", fault=None),
            "wanted version 4, serving version 3, because it is being loaded",
        ),
        (Rollout("demo", "served", "3", "3", "resolve", "It is away."), "version 3 is served, but the registry can't"),
    ],
)
def test_what_keeps_a_champion_from_being_served_is_on_the_screen(rollout: Rollout, text: str) -> None:
    screen = io.StringIO()
    found = FOUND.model_copy(update={"rollouts": [RolloutAnswer(**asdict(rollout))]})
    show(found, Console(file=screen, width=80), now=3700.0)
    assert text in screen.getvalue()


def test_a_champion_that_is_served_takes_no_line() -> None:
    screens = [io.StringIO(), io.StringIO()]
    served = [RolloutAnswer(**asdict(Rollout("demo", "served", "3", "3")))]
    for screen, rollouts in zip(screens, ([], served), strict=True):
        show(FOUND.model_copy(update={"rollouts": rollouts}), Console(file=screen, width=80), now=3700.0)
    assert screens[0].getvalue() == screens[1].getvalue()


def test_the_store_of_the_settings_is_looked_at(store: JobStore) -> None:
    submit(store)
    result = CliRunner().invoke(app, ["status"])
    assert result.exit_code == 0
    assert "not ready" in result.output
    assert "red" in result.output


def test_a_store_that_is_not_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CN_DATABASE", "postgresql+psycopg://nobody@127.0.0.1:1/none")
    result = CliRunner().invoke(app, ["status"])
    assert result.exit_code == 1
    assert result.output.startswith("The store is not reachable. (connection")
    assert result.output.endswith("; CN_DATABASE names it)\n")


def test_a_line_says_it_in_a_few_words() -> None:
    assert line(FOUND) == "version 3 served · 3 waiting · 3 running · 9 images in 5 minutes · 2 failed in an hour"


def test_the_line_names_a_version_that_failed() -> None:
    rollouts = [RolloutAnswer(**asdict(FAILED))]
    assert line(FOUND.model_copy(update={"rollouts": rollouts})).startswith("version 3 served · version 4 failed · ")


@pytest.mark.parametrize("terminal", [True, False])
def test_what_keeps_a_champion_from_being_served_is_said_once(store: JobStore, terminal: bool) -> None:
    with live_line(Settings(), Console(file=io.StringIO(), force_terminal=terminal, width=120)) as tell:
        store.rollouts.show(replace(FAILED, state="loading", fault=None), 3600)
        assert tell("") is None
        store.rollouts.show(FAILED, 3600)
        assert tell("") == FAILED.sentence()
        store.rollouts.show(replace(FAILED, reason="the same at another address"), 3600)
        assert tell("") is None
        other = replace(FAILED, wanted="5")
        store.rollouts.show(other, 3600)
        assert tell("") == other.sentence()


def test_the_line_stays_on_a_terminal(store: JobStore) -> None:
    submit(store)
    screen = io.StringIO()
    with live_line(Settings(), Console(file=screen, force_terminal=True, width=120)) as tell:
        tell("")
    assert "not ready · 1 waiting" in screen.getvalue()


def test_the_line_says_what_is_waited_for(store: JobStore) -> None:
    screen = io.StringIO()
    with live_line(Settings(), Console(file=screen, force_terminal=True, width=120)) as tell:
        tell("starting Ray: 3 s")
    assert "starting Ray: 3 s" in screen.getvalue()


def test_nothing_is_drawn_where_there_is_no_terminal(store: JobStore) -> None:
    screen = io.StringIO()
    with live_line(Settings(), Console(file=screen)) as tell:
        tell("")
    assert screen.getvalue() == ""


@pytest.mark.parametrize(
    ("seconds", "words"), [(-1, "0 s"), (45, "45 s"), (720, "12 min"), (10_800, "3 h"), (2 * 86_400, "2 d")]
)
def test_times_are_for_people(seconds: float, words: str) -> None:
    assert spoken(seconds) == words
