"""The client's side: jobs that keep coming, and a ledger of those that were accepted."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from ops.faults.rig import READY_WITHIN_S
from serve.client import Client, ClientError, Control, Retries
from serve.errors import ServeError

ALIKE = 3
"""So many jobs in a row ask for the same picture, so that what different attempts make can be compared. No more: a
picture that is stored already cannot be seen to be stored again."""

TWINS = 3
"""Of so many groups one asks for two images: only such a job has one that is told before the end."""

LOOK_S = 0.25
"""Between two questions of a thread: with twenty a second the api took half a core while others recovered."""

PATIENCE = Retries(attempts=int(2 * READY_WITHIN_S), longest_s=2.0)  # a second each, on average
"""The client rides out every restart; a submission is sent again under its own key."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A job that the API accepted.

    Attributes:
        same: Jobs of equal `same` asked for the same picture.
    """

    job_id: str
    key: str
    same: str


class Ledger:
    """Submits jobs from threads of its own while the block runs, so many unfinished at a time, as far as allowed.

    Args:
        url: Of the API.
        api_key: For it.
        webhook: URL that is told of each job's end.
        window: Most that are unfinished at once.
        photograph: PNG that every other job is steered by.
    """

    def __init__(self, url: str, api_key: str, webhook: str, window: int, photograph: bytes) -> None:
        self.entries: list[Entry] = []
        self.refused: list[str] = []  # errors that the client gave up on: not accepted, so not owed
        self._url, self._api_key, self._webhook, self._photograph = url, api_key, webhook, photograph
        self._lock = threading.Condition()
        self._next, self._allowed, self._over = 0, 0, False
        self._left = threading.Event()
        self._threads = [threading.Thread(target=self._work, name=f"client-{i}", daemon=True) for i in range(window)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Nobody asks for more, nor waits for what is open: after `finish` there is nothing of either."""
        with self._lock:
            self._left.set()
            self._lock.notify_all()

    def allow(self, jobs: int) -> None:
        """Go on until so many jobs were submitted in all."""
        with self._lock:
            self._allowed = jobs
            self._lock.notify_all()

    def finish(self) -> None:
        """Submit what is allowed, and no more."""
        with self._lock:
            self._over = True
            self._lock.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        with Client(self._url, self._api_key, retries=PATIENCE, sleep=self._left.wait) as client:
            while (number := self._take()) is not None:
                key, group = f"fault-{number}", number // ALIKE
                seed, n = 2 * group, 2 if group % TWINS == 0 else 1
                controls = [Control("canny", self._photograph)] if group % 2 else []
                try:
                    job = client.submit(
                        "brass discs on a blue bench",
                        controls=controls,
                        webhook=self._webhook,
                        idempotency_key=key,
                        seed=seed,
                        n=n,
                        steps=2,
                        width=32,
                        height=32,
                        deterministic=True,
                    )
                except (ServeError, ClientError) as error:
                    with self._lock:
                        self.refused.append(f"{key}: {error}")
                    continue
                with self._lock:
                    self.entries.append(Entry(job.id, key, f"seed {seed}"))
                self._wait(client, job.id)

    def _take(self) -> int | None:
        with self._lock:
            self._lock.wait_for(lambda: self._left.is_set() or self._over or self._next < self._allowed)
            if self._left.is_set() or self._next >= self._allowed:
                return None
            self._next += 1
            return self._next - 1

    def _wait(self, client: Client, job_id: str) -> None:
        """Until the job has ended: so many are unfinished as there are threads."""
        while not self._left.wait(LOOK_S):
            try:
                if client.job(job_id).terminal:
                    return
            except (ServeError, ClientError):
                pass  # the API is being killed; the ledger's question stays open
