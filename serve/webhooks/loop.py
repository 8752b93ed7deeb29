"""Empties the outbox: what is due is claimed, sent and recorded."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from serve.jobs.database import StoreUnavailable, tell_away
from serve.jobs.deliveries import Delivery
from serve.jobs.job import Job
from serve.jobs.signals import Signals, first
from serve.jobs.store import JobStore
from serve.webhooks.backoff import Backoff
from serve.webhooks.send import Undelivered
from serve.webhooks.sign import headers, tenant_secret

log = logging.getLogger(__name__)

LEASE_S = 30.0
"""How long a delivery is ours: three times what sending one may take."""

AT_ONCE = 64
"""Most calls under way."""

OF_ONE_TEAM = 8
"""Most of one team's: its receivers may hang for `send.TIMEOUT_S` each, and others' webhooks must not wait for that."""

LOOK_EVERY_S = 0.05
"""Seconds between looks at the outbox, at least: while jobs run there are many more changes than ends."""

RESTS_S = 1.0
"""The same where no signal came, at most."""


class Webhooks:
    """One per platform is enough, and several don't disturb each other: a delivery is claimed.

    Each is made at least once: a sender that dies after the receiver took it, or can't record that it did, leaves it to
    be sent again with the same id. Once an attempt has failed the body stays the same too, whatever becomes of the job
    meanwhile.

    Args:
        store: Has the outbox.
        post: `Sender.post`: returns when the receiver took it.
        describe: A job as the api shows it. Called in a thread: it may read from the store.
        secret: `master_secret`.
        clock: Epoch seconds that receivers compare with their own: the wall clock's.
        luck: Uniform in [0, 1).
        backoff: Between attempts, the default one when absent; how many there are is the store's.
        around: What is done around each attempt at telling of a job.
        told: Of each attempt, whether the receiver took it: `delivered` or `failed`.
    """

    def __init__(
        self,
        store: JobStore,
        post: Callable[[str, Mapping[str, str], bytes], Awaitable[None]],
        describe: Callable[[Job], Mapping[str, Any]],
        secret: str,
        clock: Callable[[], float] = time.time,
        luck: Callable[[], float] = random.random,
        backoff: Backoff | None = None,
        told: Callable[[str], object] = lambda outcome: None,
        around: Callable[[Job], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._store = store
        self._post = post
        self._describe = describe
        self._secret = secret
        self._clock = clock
        self._luck = luck
        self._backoff = backoff or Backoff()
        self._told = told
        self._around = around
        self._calls: dict[asyncio.Task[None], str] = {}  # under way, with their teams
        self._ended = asyncio.Event()  # some of them, since the last look

    async def run(self, signals: Signals) -> None:
        """Send what is due as calls end and more comes, until this is cancelled, and the calls with it.

        An empty look must not write: a commit is a signal, and would be the next one.

        Args:
            signals: Of the store's database.
        """
        try:
            while True:
                seen = signals.generation
                self._ended.clear()
                try:
                    await self.start()
                except StoreUnavailable as error:
                    tell_away(log, error)
                await asyncio.sleep(LOOK_EVERY_S)
                await first(signals.changed(seen, RESTS_S), self._ended.wait())
        finally:
            for call in self._calls:
                call.cancel()

    async def start(self) -> Sequence[asyncio.Task[None]]:
        """Begin one attempt at each delivery that is due and that there is room for.

        Returns:
            What was begun. None of it raises: what is not recorded is sent again when its lease is over.

        Raises:
            StoreUnavailable: Nothing was begun.
        """
        room = AT_ONCE - len(self._calls)
        if room < 1:
            return ()
        under_way = Counter(self._calls.values())
        claimed = await asyncio.to_thread(self._store.deliveries.claim, LEASE_S, room, under_way, OF_ONE_TEAM)
        begun = {asyncio.create_task(self._deliver(each), name=each.id): each.tenant for each in claimed}
        self._calls.update(begun)
        for call in begun:
            call.add_done_callback(self._forget)
        return tuple(begun)

    def _forget(self, call: asyncio.Task[None]) -> None:
        del self._calls[call]
        self._ended.set()

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            await self._attempt(delivery)
        except StoreUnavailable as error:
            tell_away(log, error)

    async def _attempt(self, delivery: Delivery) -> None:
        body = delivery.body
        try:
            job = await asyncio.to_thread(self._store.get, delivery.job_id)
            if job is None:  # deleted since it was claimed, and its delivery with it
                return
            if body is None:
                body = await asyncio.to_thread(self._body, delivery, job)
            await self._send(delivery, job, body.encode())
        except StoreUnavailable:
            raise  # it was not called: that costs no attempt
        except Undelivered as error:
            log.info("webhook %s, attempt %d: %s", delivery.id, delivery.attempt + 1, error)
            await self._failed(delivery, body, str(error), error.retry_after_s)
        except Exception:  # a mistake of ours, which must not cost the others their turn
            log.exception("webhook %s, attempt %d", delivery.id, delivery.attempt + 1)
            await self._failed(delivery, body, "the platform could not send it")
        else:
            self._told("delivered")
            await asyncio.to_thread(self._store.deliveries.delivered, delivery)

    async def _send(self, delivery: Delivery, job: Job, body: bytes) -> None:
        secret = tenant_secret(self._secret, delivery.tenant)
        with self._around(job):
            await self._post(delivery.url, headers(secret, delivery.id, self._clock(), body), body)

    async def _failed(
        self, delivery: Delivery, body: str | None, problem: str, retry_after_s: float | None = None
    ) -> None:
        self._told("failed")
        due_at = self._store.clock() + self._backoff.wait_s(delivery.attempt + 1, self._luck(), retry_after_s)
        await asyncio.to_thread(self._store.deliveries.failed, delivery, problem, due_at, body)

    def _body(self, delivery: Delivery, job: Job) -> str:
        content = {
            "id": delivery.id,
            "type": f"job.{job.state}",
            "created_at": delivery.created_at,
            "job": self._describe(job),
        }
        return json.dumps(content, separators=(",", ":"))
