"""Empties the outbox: what is due is claimed, sent and recorded."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from serve.jobs.deliveries import Delivery
from serve.jobs.job import Job
from serve.jobs.store import JobStore
from serve.webhooks.backoff import Backoff
from serve.webhooks.send import Undelivered
from serve.webhooks.sign import headers, tenant_secret

log = logging.getLogger(__name__)

LEASE_S = 30.0
"""How long a delivery is ours: three times what sending one may take."""

AT_ONCE = 32


class Webhooks:
    """One per platform is enough, and several don't disturb each other: a delivery is claimed.

    Each is made at least once: a sender that dies after the receiver took it, or can't record that it did, leaves it to
    be sent again with the same id.

    Args:
        store: Has the outbox.
        post: `Sender.post`: returns when the receiver took it.
        describe: A job as the api shows it. Called in a thread: it may read from the store.
        secret: `master_secret`.
        clock: Epoch seconds.
        luck: Uniform in [0, 1).
        backoff: Between attempts, the default one when absent; how many there are is the store's.
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
    ) -> None:
        self._store = store
        self._post = post
        self._describe = describe
        self._secret = secret
        self._clock = clock
        self._luck = luck
        self._backoff = backoff or Backoff()
        self._told = told

    async def run_once(self) -> int:
        """Make one attempt at each delivery that is due, up to `AT_ONCE`.

        Returns:
            How many there were; none is the time to wait, until `JobStore.deliveries.next_due` or a signal.

        Raises:
            StoreUnavailable: What was sent meanwhile may be sent again.
        """
        claimed = await asyncio.to_thread(self._store.deliveries.claim, LEASE_S, AT_ONCE)
        ends = await asyncio.gather(*map(self._deliver, claimed), return_exceptions=True)
        for end in ends:  # only when all have ended: one that can't be recorded must not cut the others off
            if isinstance(end, BaseException):
                raise end
        return len(claimed)

    async def _deliver(self, delivery: Delivery) -> None:
        job = await asyncio.to_thread(self._store.get, delivery.job_id)
        if job is None:  # deleted since it was claimed, and its delivery with it
            return
        try:
            body = await asyncio.to_thread(self._body, delivery, job)
            secret = tenant_secret(self._secret, delivery.tenant)
            await self._post(delivery.url, headers(secret, delivery.id, self._clock(), body), body)
        except Undelivered as error:
            log.info("webhook %s, attempt %d: %s", delivery.id, delivery.attempt, error)
            await self._failed(delivery, str(error), error.retry_after_s)
        except Exception:  # a mistake of ours, which must not cost the others their turn
            log.exception("webhook %s, attempt %d", delivery.id, delivery.attempt)
            await self._failed(delivery, "the platform could not send it")
        else:
            self._told("delivered")
            await asyncio.to_thread(self._store.deliveries.delivered, delivery)

    async def _failed(self, delivery: Delivery, problem: str, retry_after_s: float | None = None) -> None:
        self._told("failed")
        due_at = self._clock() + self._backoff.wait_s(delivery.attempt, self._luck(), retry_after_s)
        await asyncio.to_thread(self._store.deliveries.failed, delivery, problem, due_at)

    def _body(self, delivery: Delivery, job: Job) -> bytes:
        content = {
            "id": delivery.id,
            "type": f"job.{job.state}",
            "created_at": delivery.created_at,
            "job": self._describe(job),
        }
        return json.dumps(content, separators=(",", ":")).encode()
