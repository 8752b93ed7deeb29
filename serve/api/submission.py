"""From a request to a committed job: once for each Idempotency-Key, and never naming bytes that are not there."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, TypeVar

from anyio import to_thread
from fastapi import Header, Request
from pydantic import BaseModel, ValidationError

from serve.api.admission import Draft, settle
from serve.api.context import Context, Served
from serve.api.deadlines import IN_TURN, Order, check_deadline
from serve.api.maps import PREFIX, map_key
from serve.api.problems import accepted, invalid
from serve.api.quotas import bounds, check_model, quota, retention_s, tell_day
from serve.api.schemas import ImagesRequest, MapRequest
from serve.api.uploads import Uploads, read_request
from serve.errors import InvalidRequest, NotFound, QuotaExceeded
from serve.jobs.cost import cost
from serve.jobs.database import StoreUnavailable
from serve.jobs.idempotency import Reservation
from serve.jobs.retention import ArtifactsSwept
from serve.jobs.store import Job
from serve.telemetry import carry
from serve.tenancy.principal import Principal
from serve.webhooks.policy import check_url

Wanted = TypeVar("Wanted", bound=BaseModel)

SUBMIT_TRIES = 3
"""How often pictures are stored again because they were being swept away just then."""

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="A name for this request, such as a UUID: sent again with it, the request is the same job. Kept "
        "for a day.",
    ),
]


@dataclass(frozen=True, slots=True)
class Submission:
    """A job, and whether this request made it or an equal one before."""

    job: Job
    replayed: bool = False

    @property
    def headers(self) -> dict[str, str]:
        """What the answer says of it."""
        replayed = {"Idempotent-Replayed": "true"} if self.replayed else {}
        return {"Location": f"/v1/jobs/{self.job.id}"} | replayed


async def submit_images(
    request: Request, context: Context, who: Principal, key: str | None, check: Callable[[int], None] = lambda n: None
) -> Submission:
    """Read a request for images, settle it, and commit its job.

    A function that ends, so that whoever waits for the job does not hold the pictures in memory.

    Args:
        request: Its body is not read yet.
        context: Of the app.
        who: Asks.
        key: The Idempotency-Key, if one was given.
        check: Refuses a number of images.
    """
    settings = bounds(context.settings, who.limits)
    max_files = max(1, settings.max_controls * settings.max_images)
    data, uploads = await read_request(request, max_files, settings.max_body)
    wanted = validated(ImagesRequest, data)

    async def admit(reservation: Reservation | None) -> Job:
        served = await context.model()
        if wanted.webhook is not None:
            check_url(wanted.webhook.url, settings)
        await _bring_maps(context, who.tenant, wanted, uploads)
        draft = await to_thread.run_sync(settle, wanted, uploads, served.manifest, settings, context.random_seed)
        check(draft.spec.n)
        webhook = None if wanted.webhook is None else wanted.webhook.url
        order = Order(wanted.priority, wanted.deadline_s)
        return await submit(request, context, who, draft, served, reservation, webhook, order)

    return await once(request, context, who.tenant, key, partial(fingerprint_of, request, wanted, uploads), admit)


async def once(
    request: Request,
    context: Context,
    tenant: str,
    key: str | None,
    fingerprint: Callable[[], str],
    admit: Callable[[Reservation | None], Awaitable[Job]],
) -> Submission:
    """The job of an Idempotency-Key: the one there is, or the one that `admit` submits.

    Raises:
        IdempotencyInFlight: An equal request is here already and has no job yet.
        IdempotencyMismatch: The key stands for another request.
    """
    if key is None:
        return Submission(await admit(None))
    found = await to_thread.run_sync(
        context.store.idempotency.reserve, tenant, key, await to_thread.run_sync(fingerprint)
    )
    if isinstance(found, str):
        accepted(request.scope["state"], found)
        job = await to_thread.run_sync(context.store.get, found, tenant)
        if job is None:
            raise NotFound("The job of this Idempotency-Key no longer exists: send the request with a new key.")
        return Submission(job, replayed=True)
    try:
        return Submission(await admit(found))
    except BaseException:
        with contextlib.suppress(StoreUnavailable):  # then it frees itself in a minute
            await to_thread.run_sync(context.store.idempotency.release, found)
        raise


async def submit(
    request: Request,
    context: Context,
    who: Principal,
    draft: Draft,
    served: Served,
    reservation: Reservation | None = None,
    webhook: str | None = None,
    order: Order = IN_TURN,
) -> Job:
    """Store a draft's pictures, then commit its row, pinned to what is served.

    Raises:
        Forbidden: The team may not use the model.
        QuotaExceeded: It has used what it may.
        DeadlineUnreachable: It would not be done in time.
        InvalidRequest: Nor would it be if it were alone; or it is more than the team may use in a day.
    """
    check_model(who, served.version.name)
    price = cost(draft.spec, served.manifest.architecture)
    if order.deadline_s is not None:
        await to_thread.run_sync(check_deadline, context.store, who.tenant, price, order.priority, order.deadline_s)
    for left in reversed(range(SUBMIT_TRIES)):
        mark = await to_thread.run_sync(context.store.retention.mark) if any(draft.pictures) else 0
        with context.tracing.span("artifacts.put"):
            keys = [
                [await context.artifacts.put(who.tenant, picture.data, picture.header.suffix) for picture in pictures]
                for pictures in draft.pictures
            ]
        commit = partial(
            context.store.submit,
            who.tenant,
            draft.with_keys(keys),
            served.version,
            mark=mark,
            reservation=reservation,
            webhook=webhook,
            cost=price,
            priority=order.priority,
            deadline_s=order.deadline_s,
            quota=quota(who.limits),
            retention_s=retention_s(who.limits),
            trace=carry(),
        )
        try:
            with context.tracing.span("store.submit"):
                job = await to_thread.run_sync(commit)
        except ArtifactsSwept:
            if not left:
                raise
        except QuotaExceeded:
            await tell_day(request, who, context.store.spent)
            raise
        else:
            accepted(request.scope["state"], job.id)
            context.metrics.submitted(who.tenant)
            with contextlib.suppress(StoreUnavailable):  # the answer is due all the same
                await tell_day(request, who, context.store.spent)
            return job
    raise AssertionError("unreachable")


def validated(model: type[Wanted], data: dict[str, Any]) -> Wanted:
    """A body as `model`.

    Raises:
        InvalidFields: It is none.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise invalid(error) from None


def fingerprint_of(request: Request, wanted: ImagesRequest | MapRequest, uploads: Uploads) -> str:
    """Equal for equal requests, however their pictures were sent. Hashes pictures, so it belongs in a thread.

    What the client asked for counts and not what came of it: neither a random seed nor another model's defaults make a
    request another one.
    """
    body = wanted.model_dump(mode="json")
    # What 0.1 did not know counts where it is asked for: a request of then is the same one now.
    for part in (body, *body.get("controls", ())):
        if part.get("annotator", "") is None:
            del part["annotator"]
    if isinstance(wanted, MapRequest):
        body["image"] = _digest(wanted.image, uploads, "image")
    else:
        for i, (control, shown) in enumerate(zip(wanted.controls, body["controls"], strict=True)):
            for name, texts in (("image", control.image), ("map", control.map)):
                shown[name] = [_digest(text, uploads, f"controls.{i}.{name}") for text in texts or ()]
    asked = json.dumps([request.method, request.url.path, body], sort_keys=True)
    return hashlib.sha256(asked.encode()).hexdigest()


def _digest(text: str, uploads: Uploads, field: str) -> str:
    """What a picture's text stands for; the id of a map is a digest, and good for that when the map is gone."""
    if map_key(text, ""):
        return text
    return PREFIX + hashlib.sha256(uploads.resolve(text, field)).hexdigest()


async def _bring_maps(context: Context, tenant: str, wanted: ImagesRequest, uploads: Uploads) -> None:
    """Put maps that were made here beside the files of the request, under their ids."""
    size = 0
    for i, control in enumerate(wanted.controls):
        for text in control.map or ():
            key = map_key(text, tenant)
            if key is None or uploads.has(text):
                continue
            field = f"controls.{i}.map"
            try:
                data = await context.artifacts.get(key, tenant)
            except NotFound:
                raise InvalidRequest(
                    "There is no map of this id, or it has expired: make it again, or send the picture.", field=field
                ) from None
            size += len(data)
            if size > context.settings.max_body:  # a short list of ids must not fill the memory
                raise InvalidRequest(
                    f"The maps have more than {context.settings.max_body} bytes together, the most that is accepted.",
                    field=field,
                )
            uploads.add(text, None, data)
