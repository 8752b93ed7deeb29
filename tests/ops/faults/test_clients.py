from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from ops.faults import clients
from ops.faults.clients import Clients, Conduct, OneJob, Team, conduct
from ops.faults.history import SeenEvent, Submission
from serve.client import Client, ClientError

PRESS = Team("press", "cn_a_b", "http://127.0.0.1:9/ended")
PLAIN = Conduct(keyed=True, deadline_s=None, cancel_s=None, follow=False)
KEYLESS = Conduct(keyed=False, deadline_s=None, cancel_s=None, follow=False)
PROBLEM = {"Content-Type": "application/problem+json"}


class Gone:
    """A platform that accepts a job and is never heard of again."""

    def __init__(self) -> None:
        self.asked = threading.Event()

    def submit(self, *_: object, **__: object) -> Any:
        return SimpleNamespace(id="job_1")

    def job(self, job_id: str) -> Any:
        self.asked.set()
        raise ClientError(f"nobody knows of {job_id}")


def test_a_campaign_that_breaks_leaves_nobody_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    platform, pauses = Gone(), []

    def client(*_: object, sleep: Callable[[float], object], **__: object) -> AbstractContextManager[Gone]:
        pauses.append(sleep)
        return nullcontext(platform)

    monkeypatch.setattr(clients, "Client", client)
    monkeypatch.setattr(clients, "conduct", lambda seed, number: PLAIN)
    asking = Clients(["http://127.0.0.1:9"], [PRESS], 2, b"", seed=0)
    with asking:
        assert platform.asked.wait(30)
    assert all(pause(60.0) for pause in pauses)  # at once
    for thread in asking._threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in asking._threads)


def test_what_a_client_does_is_the_seeds_and_all_of_it_is_done() -> None:
    done = [conduct(5, number) for number in range(500)]
    assert done == [conduct(5, number) for number in range(500)]
    assert done != [conduct(6, number) for number in range(500)]
    shares = Counter(
        what
        for one in done
        for what, does in {
            "keyless": not one.keyed,
            "deadline": one.deadline_s is not None,
            "cancel": one.cancel_s is not None,
            "follow": one.follow,
        }.items()
        if does
    )
    assert min(shares.values()) > 25
    assert shares.total() < 500


Answer = httpx.Response | Exception
"""Of the API, or instead of one."""


@pytest.fixture
def asked() -> Callable[..., tuple[OneJob, list[httpx.Request]]]:
    """One job whose calls are answered in turn, and what was called."""

    def make(conduct: Conduct, *answers: Answer) -> tuple[OneJob, list[httpx.Request]]:
        calls: list[httpx.Request] = []
        left: Iterator[Answer] = iter(answers)

        def answer(request: httpx.Request) -> httpx.Response:
            calls.append(request)
            given = next(left)
            if isinstance(given, Exception):
                raise given
            return given

        never = threading.Event()
        never.wait = lambda timeout=None: False  # type: ignore[method-assign]
        transport, url = httpx.MockTransport(answer), "http://127.0.0.1:9"
        client = Client(url, PRESS.key, transport=transport, sleep=never.wait, retries=clients.PATIENCE)
        return OneJob(client, httpx.Client(base_url=url, transport=transport), PRESS, 2, b"", never, conduct), calls

    return make


def job(state: str) -> dict[str, Any]:
    return {
        "id": "job_1",
        "kind": "images",
        "state": state,
        "n": 2,
        "parameters": {},
        "model": {"name": "m", "version": "1", "digest": "d"},
        "created_at": 0.0,
        "attempt": 1,
    }


def stream(*events: tuple[int, str]) -> httpx.Response:
    text = "".join(f"id: {number}\nevent: {kind}\ndata: {{}}\n\n" for number, kind in events)
    return httpx.Response(200, headers={"Content-Type": "text/event-stream"}, text=text)


Asked = Callable[..., tuple[OneJob, Sequence[httpx.Request]]]


def test_without_a_key_each_try_is_another_submission(asked: Asked) -> None:
    one, calls = asked(
        KEYLESS,
        httpx.ReadError("cut off"),
        httpx.Response(503, headers=PROBLEM, json={"type": "/problems/overloaded"}),
        httpx.Response(202, json=job("queued")),
        httpx.Response(200, json=job("cancelled")),
    )
    one.make()
    lost = Submission("press", None)
    made = Submission("press", None, ("job_1",), True, same="press, seed 0", end="cancelled")
    assert one.told == [lost, lost, made]
    assert "Idempotency-Key" not in calls[0].headers


def test_a_job_that_an_error_names_is_not_asked_for_again(asked: Asked) -> None:
    one, _ = asked(
        KEYLESS,
        httpx.Response(503, headers=PROBLEM, json={"type": "/problems/overloaded", "job": "job_1"}),
        httpx.Response(200, json=job("running")),
        httpx.Response(200, json=job("cancelled")),
    )
    one.make()
    assert [(told.jobs, told.accepted, told.end) for told in one.told] == [(("job_1",), False, "cancelled")]


def test_a_job_that_an_error_names_and_that_is_not_there_is_asked_for_again(asked: Asked) -> None:
    one, _ = asked(
        KEYLESS,
        httpx.Response(503, headers=PROBLEM, json={"type": "/problems/overloaded", "job": "job_9"}),
        httpx.Response(404, headers=PROBLEM, json={"type": "/problems/not-found"}),
        httpx.Response(202, json=job("queued")),
        httpx.Response(200, json=job("cancelled")),
    )
    one.make()
    assert [told.jobs for told in one.told] == [(), ("job_1",)]


def test_events_are_taken_up_again_behind_the_last_one(asked: Asked) -> None:
    one, calls = asked(
        Conduct(keyed=True, deadline_s=None, cancel_s=0.0, follow=True),
        httpx.Response(202, json=job("queued")),
        httpx.Response(202, json=job("running")),
        stream((3, "queued"), (5, "started"), (5, "progress")),
        httpx.ConnectError("nobody listens"),
        stream((9, "cancelled")),
        httpx.Response(200, json=job("cancelled")),
    )
    one.make()
    (told,) = one.told
    assert told.streams == ((SeenEvent(3, "queued"), SeenEvent(5, "started"), SeenEvent(9, "cancelled")),)
    assert told.cancelled
    assert [call.headers.get("Last-Event-ID") for call in calls if call.url.path.endswith("/events")] == [
        None,
        "5",
        "5",
    ]


def test_what_is_refused_is_said(asked: Asked) -> None:
    one, _ = asked(
        PLAIN, httpx.Response(422, headers=PROBLEM, json={"type": "/problems/invalid-request", "detail": "steps: 0"})
    )
    one.make()
    assert one.told == [Submission("press", "fault-2")]
    assert one.refused == ["press, fault-2: steps: 0"]
