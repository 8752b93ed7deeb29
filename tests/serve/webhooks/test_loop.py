"""From a job's end to a receiver that has checked the signature: a real store, real sockets."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from standardwebhooks import Webhook

from serve.jobs.database import StoreUnavailable, open_database
from serve.jobs.deliveries import MOST_ATTEMPTS, Delivery
from serve.jobs.job import Job
from serve.jobs.signals import SqliteSignals
from serve.jobs.spec import JobSpec
from serve.jobs.store import JobResult, JobStore, ModelVersion
from serve.webhooks import loop
from serve.webhooks.backoff import Backoff
from serve.webhooks.loop import LEASE_S, OF_ONE_TEAM, Webhooks
from serve.webhooks.send import TIMEOUT_S, Sender, Undelivered
from serve.webhooks.sign import tenant_secret
from tests.serve.webhooks.conftest import Receiver
from tests.serve.webhooks.test_sign import SECRET

SPEC = JobSpec("a gear", "", (7,), steps=2, guidance=1.0, width=64, height=64)
MODEL = ModelVersion("demo", "3", "sha256:aa")
HANGS, TAKES = "https://hooks.example.com/hangs", "https://hooks.example.com/takes"


class Clock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC).timestamp()  # a receiver checks how old a delivery is

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = open_database(f"sqlite:///{tmp_path / 'jobs.db'}")
    yield engine
    engine.dispose()


@pytest.fixture
def store(engine: sa.Engine, clock: Clock) -> JobStore:
    return JobStore(engine, clock)


@pytest.fixture
def url(receiver: Receiver) -> str:
    return f"http://localhost:{receiver.port}/hook"


def describe(job: Job) -> Mapping[str, Any]:
    return {"id": job.id, "state": job.state}


def webhooks(store: JobStore, clock: Clock, post: Callable[..., Awaitable[None]] | None = None, **how: Any) -> Webhooks:
    sender = Sender(("localhost",))
    return Webhooks(
        store, post or sender.post, **{"describe": describe, **how}, secret=SECRET, clock=clock, luck=lambda: 0.5
    )


async def send(sender: Webhooks) -> int:
    """Make one attempt at each delivery that is due; how many there were."""
    begun = await sender.start()
    await asyncio.gather(*begun)
    return len(begun)


def ended(store: JobStore, url: str | None, tenant: str = "red", retention_s: float | None = None) -> str:
    """Id of a job that has succeeded."""
    job = store.submit(tenant, SPEC, MODEL, webhook=url, retention_s=retention_s)
    (lease,) = store.claim("worker", 30.0, 1)
    store.succeed(lease, JobResult(()))
    return job.id


def delivery(store: JobStore, job_id: str) -> Delivery:
    found = store.deliveries.of(job_id)
    assert found is not None
    return found


async def test_a_jobs_end_is_told_and_signed_for_its_team(
    store: JobStore, clock: Clock, receiver: Receiver, url: str
) -> None:
    job_id = ended(store, url)
    assert await send(webhooks(store, clock)) == 1
    (received,) = receiver.received
    told = Webhook(tenant_secret(SECRET, "red")).verify(received.body, dict(received.headers))
    assert told == {
        "id": received.headers["webhook-id"],
        "type": "job.succeeded",
        "created_at": clock.now,
        "job": {"id": job_id, "state": "succeeded"},
    }
    assert received.line == "POST /hook HTTP/1.1"
    assert delivery(store, job_id).state == "delivered"


async def test_each_end_has_its_type(store: JobStore, clock: Clock, receiver: Receiver, url: str) -> None:
    job = store.submit("red", SPEC, MODEL, webhook=url)
    store.request_cancel(job.id, "red")
    job = store.submit("red", SPEC, MODEL, webhook=url)
    (lease,) = store.claim("worker", 30.0, 1)
    store.fail(lease, {"type": "job-failed", "detail": "x"})
    await send(webhooks(store, clock))
    types = {json.loads(received.body)["type"] for received in receiver.received}
    assert types == {"job.cancelled", "job.failed"}


async def test_nothing_is_sent_before_the_end_or_without_a_webhook(
    store: JobStore, clock: Clock, receiver: Receiver, url: str
) -> None:
    ended(store, None)
    store.submit("red", SPEC, MODEL, webhook=url)
    assert await send(webhooks(store, clock)) == 0
    assert receiver.connections == 0


async def test_what_was_delivered_is_not_sent_again(
    store: JobStore, clock: Clock, receiver: Receiver, url: str
) -> None:
    ended(store, url)
    sender = webhooks(store, clock)
    await send(sender)
    clock.now += 10 * LEASE_S
    assert await send(sender) == 0


async def test_what_failed_is_sent_again_with_the_same_id_and_body(
    store: JobStore, clock: Clock, receiver: Receiver, url: str
) -> None:
    job_id = ended(store, url)
    sender = webhooks(store, clock, backoff=Backoff(first_s=8, factor=2, longest_s=100))
    receiver.response = b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"
    await send(sender)
    assert (delivery(store, job_id).state, delivery(store, job_id).problem) == ("pending", "answered 500")
    assert delivery(store, job_id).due_at == clock.now + 4
    assert await send(sender) == 0  # not due yet
    clock.now += 4
    receiver.response = b"HTTP/1.1 204 Thanks\r\n\r\n"
    assert await send(sender) == 1
    first, second = receiver.received
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.headers["webhook-timestamp"] != second.headers["webhook-timestamp"]
    assert delivery(store, job_id).state == "delivered"


async def test_a_body_stays_the_same_when_the_result_has_expired_meanwhile(
    store: JobStore, clock: Clock, receiver: Receiver, url: str
) -> None:
    """What one id says is what a receiver may have seen already."""

    def whole(job: Job) -> Mapping[str, Any]:
        return {**describe(job), "kept": job.result is not None}

    job_id = ended(store, url, retention_s=1.0)
    sender = webhooks(store, clock, describe=whole)
    receiver.response = b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"
    await send(sender)
    clock.now = store.deliveries.next_due() or clock.now
    assert store.retention.expire() == 1
    receiver.response = b"HTTP/1.1 204 Thanks\r\n\r\n"
    await send(webhooks(store, clock, describe=whole))  # another process, perhaps
    first, second = receiver.received
    assert first.body == second.body
    assert json.loads(second.body)["job"]["kept"]
    assert (delivery(store, job_id).state, delivery(store, job_id).body) == ("delivered", None)


async def test_waits_grow_with_the_attempts(store: JobStore, clock: Clock, receiver: Receiver, url: str) -> None:
    job_id = ended(store, url)
    sender = webhooks(store, clock, backoff=Backoff(first_s=8, factor=2, longest_s=20))
    receiver.response = b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"
    waits = []
    for _ in range(4):
        await send(sender)
        due_at = delivery(store, job_id).due_at
        assert due_at is not None
        waits.append(due_at - clock.now)
        clock.now = due_at
    assert waits == pytest.approx([4, 8, 10, 10])


async def test_a_receiver_that_asks_for_time_gets_it(
    store: JobStore, clock: Clock, receiver: Receiver, url: str
) -> None:
    job_id = ended(store, url)
    receiver.response = b"HTTP/1.1 503 Busy\r\nRetry-After: 900\r\nContent-Length: 0\r\n\r\n"
    await send(webhooks(store, clock))
    assert delivery(store, job_id).due_at == clock.now + 900


async def test_a_receiver_that_never_takes_it_is_given_up(
    store: JobStore, clock: Clock, receiver: Receiver, url: str
) -> None:
    job_id = ended(store, url)
    receiver.response = b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"
    sender = webhooks(store, clock)
    attempts = 0
    while await send(sender):
        attempts += 1
        clock.now = store.deliveries.next_due() or clock.now
    assert attempts == len(receiver.received) == 12
    assert (delivery(store, job_id).state, delivery(store, job_id).problem) == ("abandoned", "answered 410")


async def test_a_sender_that_dies_leaves_it_to_the_next(
    store: JobStore, clock: Clock, receiver: Receiver, url: str
) -> None:
    async def die(*_: object) -> None:
        raise asyncio.CancelledError

    job_id = ended(store, url)
    with pytest.raises(asyncio.CancelledError):
        await send(webhooks(store, clock, die))
    assert await send(webhooks(store, clock)) == 0  # the lease of the dead one
    clock.now += LEASE_S
    assert await send(webhooks(store, clock)) == 1
    assert delivery(store, job_id).state == "delivered"


async def test_a_store_that_is_away_before_the_call_costs_no_attempt(
    store: JobStore, clock: Clock, receiver: Receiver, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise StoreUnavailable("away")

    job_id = ended(store, url)
    sender = webhooks(store, clock)
    with monkeypatch.context() as outage:
        outage.setattr(store, "get", away)
        for _ in range(MOST_ATTEMPTS + 1):
            assert await send(sender) == 1
            clock.now += LEASE_S
    assert (delivery(store, job_id).state, delivery(store, job_id).attempt) == ("pending", 0)
    assert await send(sender) == 1
    assert delivery(store, job_id).state == "delivered"
    assert receiver.connections == 1


def test_a_lease_outlasts_an_attempt() -> None:
    assert LEASE_S > 2 * TIMEOUT_S


async def test_one_receiver_does_not_wait_for_another(store: JobStore, clock: Clock) -> None:
    """All that are due are sent at once: the first ends only after the second was sent."""
    second_sent = asyncio.Event()

    async def post(url: str, *_: object) -> None:
        if url.endswith("first"):
            await second_sent.wait()
        else:
            second_sent.set()

    jobs = [ended(store, "https://hooks.example.com/first"), ended(store, "https://hooks.example.com/second")]
    assert await send(webhooks(store, clock, post)) == 2
    assert [delivery(store, job_id).state for job_id in jobs] == ["delivered"] * 2


def hanging(called: list[str]) -> Callable[..., Awaitable[None]]:
    """A `post` whose receiver at the path /hangs never answers."""

    async def post(url: str, *_: object) -> None:
        called.append(url)
        if url.endswith("/hangs"):
            await asyncio.Event().wait()

    return post


async def test_receivers_that_hang_hold_up_their_own_team_alone(store: JobStore, clock: Clock) -> None:
    """More of one team than there are calls at once are due before the one of another."""
    for _ in range(loop.AT_ONCE + 1):
        store.request_cancel(store.submit("red", SPEC, MODEL, webhook=HANGS).id, "red")
    clock.now += 1
    other = ended(store, TAKES, "blue")
    called: list[str] = []
    begun = await webhooks(store, clock, hanging(called)).start()
    await asyncio.wait(begun, return_when=asyncio.FIRST_COMPLETED)
    assert delivery(store, other).state == "delivered"
    assert (called.count(HANGS), called.count(TAKES)) == (OF_ONE_TEAM, 1)
    for call in begun:
        call.cancel()


async def test_the_next_call_begins_as_soon_as_one_has_ended(store: JobStore, clock: Clock, engine: sa.Engine) -> None:
    """All but one of a team's calls hang, and its others go through that one."""
    for _ in range(OF_ONE_TEAM - 1):
        ended(store, HANGS)
    clock.now += 1
    for _ in range(3):
        ended(store, TAKES)
    called: list[str] = []
    signals = SqliteSignals(engine)
    running = asyncio.create_task(webhooks(store, clock, hanging(called)).run(signals))
    while called.count(TAKES) < 3:
        await asyncio.sleep(0.001)
    assert called.count(HANGS) == OF_ONE_TEAM - 1
    running.cancel()
    await asyncio.wait([running])
    signals.close()


async def test_an_end_cuts_off_the_calls_under_way(store: JobStore, clock: Clock, engine: sa.Engine) -> None:
    cut_off = asyncio.Event()
    called = asyncio.Event()

    async def post(*_: object) -> None:
        called.set()
        try:
            await asyncio.Event().wait()
        finally:
            cut_off.set()

    ended(store, HANGS)
    signals = SqliteSignals(engine)
    running = asyncio.create_task(webhooks(store, clock, post).run(signals))
    await called.wait()
    running.cancel()
    await cut_off.wait()
    signals.close()


async def test_a_store_that_is_away_does_not_end_the_loop(
    store: JobStore, clock: Clock, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, refusals = store.deliveries.claim, [StoreUnavailable("away"), StoreUnavailable("away")]

    def restarting(*arguments: Any) -> list[Delivery]:
        if refusals:
            raise refusals.pop()
        return claim(*arguments)

    monkeypatch.setattr(loop, "RESTS_S", 0.001)
    monkeypatch.setattr(store.deliveries, "claim", restarting)
    ended(store, TAKES)
    called: list[str] = []
    signals = SqliteSignals(engine)
    running = asyncio.create_task(webhooks(store, clock, hanging(called)).run(signals))
    while not called:
        await asyncio.sleep(0.001)
    running.cancel()
    await asyncio.wait([running])
    signals.close()


async def test_what_goes_wrong_with_one_does_not_stop_the_others(
    store: JobStore, clock: Clock, receiver: Receiver, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    def describe_some(job: Job) -> Mapping[str, Any]:
        if job.tenant == "blue":
            raise KeyError("images")
        return describe(job)

    bad, good = ended(store, url, "blue"), ended(store, url, "red")
    with caplog.at_level(logging.ERROR, "serve.webhooks.loop"):
        assert await send(webhooks(store, clock, describe=describe_some)) == 2
    assert delivery(store, good).state == "delivered"
    assert (delivery(store, bad).state, delivery(store, bad).problem) == ("pending", "the platform could not send it")
    assert "KeyError" in caplog.text


async def test_a_receiver_that_is_refused_is_recorded_as_such(store: JobStore, clock: Clock) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["10.0.0.1"]

    job_id = ended(store, "https://hooks.example.com/")
    sender = Sender(("hooks.example.com",), resolve)
    await send(webhooks(store, clock, sender.post))
    assert delivery(store, job_id).problem == (
        "not called: the host's name resolves to an address that webhooks must not call"
    )


async def test_a_delivery_that_another_sender_took_over_is_not_recorded_twice(store: JobStore, clock: Clock) -> None:
    """This one was silent for longer than its lease; what it says then is late."""
    job_id = ended(store, "https://hooks.example.com/")

    async def slow(*_: object) -> None:
        clock.now += LEASE_S
        store.deliveries.claim(LEASE_S, 1)
        raise Undelivered("no answer")

    await send(webhooks(store, clock, slow))
    assert (delivery(store, job_id).attempt, delivery(store, job_id).problem) == (0, None)
