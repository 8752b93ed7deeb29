"""The client's side: jobs of several teams that keep coming, and all that their clients were told.

They do what clients do: send an Idempotency-Key or none, set deadlines, change their minds, follow a job's events and
take them up again, or ask now and then. What each job's client does is drawn by the campaign's seed.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from itertools import count
from types import TracebackType
from typing import Any, Self, cast

import httpx

from ops.faults.history import SeenEvent, Submission
from ops.faults.rig import READY_WITHIN_S
from serve.client import Client, ClientError, Control, Job, Retries
from serve.client.problems import from_answer
from serve.client.retries import is_passing
from serve.client.sse import Parser
from serve.errors import ServeError
from serve.jobs.job import TERMINAL, EventKind, State

ALIKE = 3
"""So many jobs in a row ask for the same picture, so that what different attempts make can be compared. No more: a
picture that is stored already cannot be seen to be stored again."""

TWINS = 3
"""Of so many groups one asks for two images: only such a job has one that is told before the end."""

LOOK_S = 0.25
"""Between two questions of a thread: with twenty a second the api took half a core while others recovered."""

CALL_S = 30.0
"""For which a call without an Idempotency-Key is waited for, and between two events of a stream."""

PATIENCE = Retries(attempts=int(2 * READY_WITHIN_S), longest_s=2.0)  # a second each, on average
"""The client rides out every restart; a submission is sent again under its own key."""

PROMPT = "brass discs on a blue bench"

KEYLESS, DEADLINE, CANCEL, FOLLOW = 0.15, 0.1, 0.15, 0.3
"""Shares of the jobs whose clients do so."""

DEADLINES_S = (20, 120)
CHANGES_ITS_MIND_S = 4.0
"""After which a job is cancelled, at most."""


@dataclass(frozen=True, slots=True)
class Team:
    """One of the campaign's teams.

    Attributes:
        key: Of a member.
        webhook: URL of its receiver.
    """

    name: str
    key: str
    webhook: str


@dataclass(frozen=True, slots=True)
class Conduct:
    """What the client of one job does.

    Attributes:
        keyed: It sends an Idempotency-Key, and what was lost again.
        deadline_s: That it sets.
        cancel_s: Seconds after which it cancels; none where it does not.
        follow: It listens to the job's events; otherwise it asks.
    """

    keyed: bool
    deadline_s: int | None
    cancel_s: float | None
    follow: bool


def conduct(seed: int, number: int) -> Conduct:
    """Of the client of job `number` in the campaign of a seed."""
    luck = random.Random(f"{seed} {number}")
    keyed = luck.random() >= KEYLESS
    deadline_s = luck.choice(DEADLINES_S) if luck.random() < DEADLINE else None
    cancel_s = luck.uniform(0.0, CHANGES_ITS_MIND_S) if luck.random() < CANCEL else None
    return Conduct(keyed, deadline_s, cancel_s, luck.random() < FOLLOW)


class Clients:
    """Submit jobs from threads of their own while the block runs, so many unfinished at a time, until `finish`.

    Args:
        urls: Of the APIs; clients are spread over them.
        teams: Likewise.
        window: Most jobs that are unfinished at once.
        photograph: PNG that every other job is steered by.
        seed: Of what they do.

    Attributes:
        submissions: What they asked for and were told, of each job when its client is done with it.
        refused: What they gave up on: not accepted, or not to be fetched.
    """

    def __init__(self, urls: Sequence[str], teams: Sequence[Team], window: int, photograph: bytes, seed: int) -> None:
        self.submissions: list[Submission] = []
        self.refused: list[str] = []
        self._photograph, self._seed = photograph, seed
        self._lock = threading.Lock()
        self._numbers = count()
        self._over, self._left = threading.Event(), threading.Event()
        places = [(urls[number % len(urls)], teams[number % len(teams)]) for number in range(window)]
        self._threads = [
            threading.Thread(target=self._work, args=place, name=f"client-{number}", daemon=True)
            for number, place in enumerate(places)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Nobody asks for more, nor waits for what is open: after `finish` there is nothing of either."""
        self._left.set()

    def finish(self) -> None:
        """Ask for no more; until all that was asked for has ended."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _take(self) -> int | None:
        return None if self._left.is_set() or self._over.is_set() else next(self._numbers)

    def _work(self, url: str, team: Team) -> None:
        headers = {"Authorization": f"Bearer {team.key}"}
        with (
            Client(url, team.key, retries=PATIENCE, sleep=self._left.wait) as client,
            httpx.Client(base_url=url, headers=headers, timeout=CALL_S) as http,
        ):
            while (number := self._take()) is not None:
                job = OneJob(client, http, team, number, self._photograph, self._left, conduct(self._seed, number))
                job.make()
                with self._lock:
                    self.submissions += job.told
                    self.refused += job.refused


class OneJob:
    """One job, from its submission to the end as its client sees it.

    Args:
        client: For what is sent again.
        http: For what is sent once.
        team: Whose it is.
        number: In the campaign.
        photograph: PNG that steers every other group of jobs.
        left: Set when nobody waits any more.
        conduct: What its client does.

    Attributes:
        told: What it asked for and was told; without a key there may be more than one of these.
        refused: What it gave up on.
    """

    def __init__(
        self,
        client: Client,
        http: httpx.Client,
        team: Team,
        number: int,
        photograph: bytes,
        left: threading.Event,
        conduct: Conduct,
    ) -> None:
        self._client, self._http, self._team, self._left = client, http, team, left
        self._conduct = conduct
        self._key = f"fault-{number}" if self._conduct.keyed else None
        self._group = number // ALIKE
        self._photograph = photograph
        self.told: list[Submission] = []
        self.refused: list[str] = []

    def make(self) -> None:
        """Submit, do what the client does, and see the end."""
        try:
            job, accepted = self._submit() if self._conduct.keyed else self._submit_once()
        except (ServeError, ClientError) as error:
            self.refused.append(f"{self._team.name}, {self._key}: {error}")
            self.told.append(self._asked)
            return
        if job is None:
            return  # nobody waits any more
        end, cancelled, streams = self._see(job)
        state = None if end is None else cast(State, str(end.state))
        pictures = self._pictures(end) if end is not None and state == "succeeded" else ()
        self.told.append(
            replace(
                self._asked,
                jobs=(job,),
                accepted=accepted,
                cancelled=cancelled,
                same=f"{self._team.name}, seed {self._parameters['seed']}",
                end=state,
                pictures=pictures,
                streams=streams,
            )
        )

    @property
    def _asked(self) -> Submission:
        return Submission(self._team.name, self._key, deadline=self._conduct.deadline_s is not None)

    @property
    def _parameters(self) -> Mapping[str, Any]:
        n = 2 if self._group % TWINS == 0 else 1
        parameters = {"seed": 2 * self._group, "n": n, "steps": 2, "width": 32, "height": 32, "deterministic": True}
        return parameters | ({} if self._conduct.deadline_s is None else {"deadline_s": self._conduct.deadline_s})

    @property
    def _steered(self) -> bool:
        return self._group % 2 == 1

    def _submit(self) -> tuple[str | None, bool]:
        """The job's id, and that it was accepted; sent again until it is."""
        controls = [Control("canny", self._photograph)] if self._steered else []
        job = self._client.submit(
            PROMPT,
            controls=controls,
            webhook=self._team.webhook,
            idempotency_key=self._key,
            **cast(Any, self._parameters),
        )
        return job.id, True

    def _submit_once(self) -> tuple[str | None, bool]:
        """The same without a key: what was lost may be a job or none, so each time another is asked for."""
        body: dict[str, Any] = {"prompt": PROMPT, "webhook": {"url": self._team.webhook}, **self._parameters}
        if self._steered:
            body["controls"] = [{"type": "canny", "image": base64.b64encode(self._photograph).decode()}]
        while not self._left.is_set():
            try:
                answer: httpx.Response | None = self._http.post("/v1/jobs", json=body)
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code == HTTPStatus.ACCEPTED:
                return str(answer.json()["id"]), True
            if answer is not None and (job := _named(answer)) is not None and self._exists(job):
                return job, False
            if answer is not None and answer.is_client_error and not is_passing(answer):
                raise from_answer(answer)
            self.told.append(self._asked)
            self._left.wait(1.0)
        return None, False

    def _exists(self, job: str) -> bool:
        """Whether the job that an error named was accepted after all."""
        while not self._left.is_set():
            with contextlib.suppress(httpx.TransportError):
                status = self._http.get(f"/v1/jobs/{job}").status_code
                if status in (HTTPStatus.OK, HTTPStatus.NOT_FOUND):
                    return status == HTTPStatus.OK
            self._left.wait(1.0)
        return False

    def _see(self, job: str) -> tuple[Job | None, bool, tuple[tuple[SeenEvent, ...], ...]]:
        """The job when it has ended, whether it was to be cancelled, and what a stream told."""
        cancelled = False
        if self._conduct.cancel_s is not None:
            self._left.wait(self._conduct.cancel_s)
            cancelled = self._again(lambda: self._client.cancel(job)) is not None
        streams = (self._follow(job),) if self._conduct.follow else ()
        while not self._left.is_set():
            found = self._again(lambda: self._client.job(job))
            if found is not None and found.terminal:
                return found, cancelled, streams
            self._left.wait(LOOK_S)
        return None, cancelled, ()

    def _again(self, call: Callable[[], Job]) -> Job | None:
        """What a call says, again while the API is away; None where nobody waits any more."""
        while not self._left.is_set():
            try:
                return call()
            except (ServeError, ClientError):
                self._left.wait(LOOK_S)
        return None

    def _follow(self, job: str) -> tuple[SeenEvent, ...]:
        """The job's durable events up to its end, taken up again behind the last one wherever the stream breaks."""
        seen: list[SeenEvent] = []
        while not self._left.is_set():
            last = str(seen[-1].id) if seen else ""
            parser = Parser(last)
            try:
                headers = {"Last-Event-ID": last} if last else {}
                with self._http.stream("GET", f"/v1/jobs/{job}/events", headers=headers) as answer:
                    if answer.status_code == HTTPStatus.NO_CONTENT:
                        return tuple(seen)
                    for chunk in answer.iter_bytes() if answer.status_code == HTTPStatus.OK else ():
                        for message in parser.push(chunk):
                            if parser.last_id != last:  # where the job stands is told without an id of its own
                                last = parser.last_id
                                seen.append(SeenEvent(int(last), cast(EventKind, message.event)))
                            if message.event in TERMINAL:
                                return tuple(seen)
            except httpx.TransportError:
                pass
            self._left.wait(LOOK_S)
        return ()

    def _pictures(self, job: Job) -> tuple[str, ...]:
        """Digests of the job's pictures; none where they cannot be fetched, which is for the checker to tell."""
        try:
            return tuple(hashlib.sha256(picture).hexdigest() for picture in self._client.images(job))
        except (ServeError, ClientError) as error:
            self.refused.append(f"{job.id}: its pictures: {error}")
            return ()


def _named(answer: httpx.Response) -> str | None:
    """The job that an error names."""
    try:
        found = answer.json().get("job")
    except (ValueError, AttributeError):  # no JSON, or no object: something else answers
        return None
    return found if isinstance(found, str) else None
