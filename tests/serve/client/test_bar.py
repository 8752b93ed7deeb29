from __future__ import annotations

import io

import pytest
from rich.console import Console

from serve.client import Annotated, Ended, ImageDone, Job, Progressed, Queued, Started
from serve.client.bar import bar, watching
from serve.client.events import Event
from tests.serve.client.conftest import DONE

END = Ended(job=Job.model_validate(DONE))


def shown(*events: Event) -> str:
    """The bar's last line."""
    text = io.StringIO()
    with bar(Console(file=text, width=100)) as tell:
        for event in events:
            tell(event)
    return text.getvalue().strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([Queued(position=3, attempt=0)], "queued, 3 before"),
        ([Queued(position=0, attempt=0)], "queued "),
        ([Started(attempt=1)], "started "),
        ([Started(attempt=2)], "started again, attempt 2"),
        ([Annotated(control_maps=())], "control maps made"),
        ([Progressed(steps=(3, 4), of=10)], "sampling"),
        ([ImageDone(index=1, seed=1, url="")], "image 1 made"),
        ([END], "succeeded"),
    ],
)
def test_the_bar_says_what_happens(events: list[Event], expected: str) -> None:
    assert expected in shown(*events)


def test_the_bar_counts_the_steps_of_all_images() -> None:
    assert "7/20" in shown(Progressed(steps=(3, 4), of=10))


def test_another_attempt_begins_from_nothing() -> None:
    assert "0/20" in shown(Progressed(steps=(3, 4), of=10), Started(attempt=2))


def test_a_success_is_all_of_it() -> None:
    assert "20/20" in shown(Progressed(steps=(3, 4), of=10), END)


def test_a_failure_is_as_far_as_it_came() -> None:
    failed = Ended(job=Job.model_validate(DONE | {"state": "failed"}))
    line = shown(Progressed(steps=(3, 4), of=10), failed)
    assert "failed" in line
    assert "7/20" in line


def test_whoever_watches_is_told() -> None:
    seen: list[Event] = []
    with watching(seen.append) as tell:
        tell(END)
    assert seen == [END]


def test_nobody_need_watch() -> None:
    with watching(False) as tell:
        assert tell(END) is None


def test_a_bar_is_shown_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with watching(True) as tell:
        tell(END)
    assert "succeeded" in capsys.readouterr().out
