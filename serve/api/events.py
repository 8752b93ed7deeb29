"""`GET /v1/jobs/{id}/events`: a job's history and what goes on, as server-sent events.

The store's outbox is the stream: a durable event's id is what `Last-Event-ID` resumes after, at any api, also after a
restart. Where the job stands between two of them (its place in the queue, its steps) is told besides, without an id and
only the latest. So all that a stream keeps is what it said last, and a slow reader is told less, not later.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Header, Response

from serve.api.access import OwnJob, StillKnown, Tenant
from serve.api.context import Context, InContext
from serve.api.descriptions import annotated, describe, image_url, map_links
from serve.api.problems import documented
from serve.api.streams import KEEP_ALIVE, MEDIA_TYPE, RETRY, EventStream, event
from serve.jobs.database import StoreUnavailable
from serve.jobs.job import TERMINAL
from serve.jobs.store import Event, Job, JobStore

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["jobs"])

LOOK_EVERY_S = 0.1
"""Least time between a stream's looks at the store, which every change of any job would ask for."""

STANDING_EVERY_S = 0.25
"""Least time between two words on where the job stands."""

KEEP_ALIVE_S = 15.0
"""Longest silence: what lies between cuts connections that seem dead."""

KNOWN_FOR_S = 10.0
"""How long a reader whose key was revoked is told on."""

RECHECK_S = 5.0
"""Looks this often even without a signal."""

_PHASES = {"queued": "queued", "started": "running"}

_EXAMPLE = """id: 41
event: queued
data: {"job":"job_0199...","position":2,"attempt":0}

id: 44
event: started
data: {"job":"job_0199...","attempt":1}

event: progress
data: {"job":"job_0199...","steps":[11],"of":20}

id: 47
event: image
data: {"job":"job_0199...","index":0,"seed":7,"url":"/v1/jobs/job_0199.../images/0"}

id: 48
event: succeeded
data: {"job":{"id":"job_0199...","state":"succeeded"}}
"""


@router.get(
    "/events",
    summary="What happens to a job, as it happens",
    response_class=Response,
    responses={
        200: {"description": "Server-sent events.", "content": {MEDIA_TYPE: {"example": _EXAMPLE}}},
        204: {"description": "Nothing comes after `Last-Event-ID`: it was the last. A browser stops asking."},
        **documented(404, 429),
    },
)
async def stream_events(
    job: OwnJob,
    context: InContext,
    tenant: Tenant,
    still_known: StillKnown,
    last_event_id: Annotated[
        str | None, Header(alias="Last-Event-ID", description="`id` of the last event you have.")
    ] = None,
) -> Response:
    """From the submission on, or after `Last-Event-ID`, to the end. Each event is JSON with the `job` it is about.

    | event | more | |
    |---|---|---|
    | `queued` | `position`, `attempt` | again, without an id, as jobs before it leave |
    | `started` | `attempt` | |
    | `annotated` | `control_maps` | their ids may steer other jobs from now on; images are made meanwhile |
    | `progress` | `steps`, `of`, perhaps `preview` | of each image; at most 4 a second, without an id |
    | `image` | `index`, `seed`, `url` | |
    | `succeeded`, `failed`, `cancelled` | `job` is all of it | the last one, always |

    After a worker was lost a job is queued and started again, and may tell of an image again. A stream that ends
    without one of the last three was cut off: connect again with `Last-Event-ID`.
    """
    history = await to_thread.run_sync(context.store.events, job.id)
    after = next((e.id for e in history if str(e.id) == last_event_id), 0)  # an id of no event of this job: all of it
    if after and after == history[-1].id and history[-1].kind in TERMINAL:
        return Response(status_code=204)
    return EventStream(follow(context, job, after, still_known), context.streams, tenant)


@dataclass(frozen=True, slots=True)
class Look:
    """What the store says of a job at one moment.

    Attributes:
        events: New ones.
        job: Its row, read after them: where it has not ended, none of them says that it has.
        position: In the queue.
        end: What the last event tells, of a job that has ended.
    """

    events: list[Event]
    job: Job
    position: int | None
    end: dict[str, Any] | None

    @classmethod
    def at(cls, store: JobStore, job: Job, after: int) -> Look:
        """Look now."""
        events = store.events(job.id, after)
        current = store.get(job.id) or job
        standing = store.standing(current) if current.state == "queued" else None
        end = describe(store, current).model_dump() if current.terminal else None
        return cls(events, current, None if standing is None else standing.position, end)

    @property
    def phase(self) -> tuple[str, int]:
        """The part of the job's life that the row is in."""
        return self.job.state, self.job.attempt

    def standing(self) -> bytes | None:
        """Where the job stands between two durable events."""
        if self.job.state == "queued":
            return event("queued", {"job": self.job.id, "position": self.position, "attempt": self.job.attempt})
        if self.job.state == "running" and self.job.progress is not None:
            return event("progress", {"job": self.job.id, **self.job.progress})
        return None

    def tell(self, found: Event) -> bytes:
        """A durable event."""
        data: dict[str, Any] = {"job": self.job.id}
        if found.kind in ("queued", "started"):
            data["attempt"] = found.data["attempt"]
        if found.kind == "queued":
            data["position"] = self.position
        elif found.kind == "annotated":
            data["control_maps"] = [link.model_dump() for link in map_links(self.job.id, annotated(found.data))]
        elif found.kind == "image":
            index = found.data["index"]
            data |= {"index": index, "seed": found.data["image"]["seed"], "url": image_url(self.job.id, index)}
        elif found.kind in TERMINAL:
            data["job"] = self.end
        return event(found.kind, data, found.id)


async def follow(
    context: Context, job: Job, after: int, still_known: Callable[[], Awaitable[bool]]
) -> AsyncIterator[bytes]:
    """A job's events after the one with id `after`, until it has ended, or the reader isn't known any more."""
    clock = asyncio.get_running_loop().time
    seen, phase = 0, ("", 0)  # what the reader had before is read too, not told: it says where in the job's life it is
    said: bytes | None = None  # of where the job stands
    spoke, stood = clock(), float("-inf")
    asked = clock()
    yield RETRY
    while True:
        if clock() >= asked + KNOWN_FOR_S:
            if not await still_known():
                return  # cut off: who connects again is told why
            asked = clock()
        generation, looked = context.signals.generation, clock()
        look = await to_thread.run_sync(_look, context.store, job, seen)
        for found in () if look is None else look.events:
            assert look is not None
            seen = found.id
            if found.kind in _PHASES:
                phase = _PHASES[found.kind], found.data["attempt"]
            if found.id > after:
                yield look.tell(found)
                spoke = clock()
                said = look.standing() if found.kind == "queued" and look.phase == phase else said
            if found.kind in TERMINAL:
                return
        standing = look.standing() if look and look.phase == phase else None
        wait = RECHECK_S
        if standing is not None and standing != said:
            wait = stood + STANDING_EVERY_S - clock()
            if wait <= 0:
                yield standing
                spoke = stood = clock()
                said, wait = standing, RECHECK_S
        if clock() >= spoke + KEEP_ALIVE_S:
            yield KEEP_ALIVE
            spoke = clock()
        await context.signals.changed(generation, max(0.0, min(wait, spoke + KEEP_ALIVE_S - clock())))
        await asyncio.sleep(looked + LOOK_EVERY_S - clock())


def _look(store: JobStore, job: Job, after: int) -> Look | None:
    """What there is to tell; nothing while the store is away, and its signals tell when it is back."""
    try:
        return Look.at(store, job, after)
    except StoreUnavailable:
        return None
