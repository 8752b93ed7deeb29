"""What a job made: its images and control maps one by one, as soon as each is done, and all of it in an archive."""

from __future__ import annotations

from typing import Annotated, Any, NoReturn

from anyio import to_thread
from fastapi import APIRouter, Path, Response

from serve.api import answers
from serve.api.access import OwnJob
from serve.api.context import InContext
from serve.api.descriptions import Made
from serve.api.maps import map_id
from serve.api.problems import documented
from serve.errors import Gone, NotFinished, NotFound
from serve.jobs.store import Job

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["jobs"])

POLL_S = 1
"""When asking again for what is not made yet makes sense."""

Index = Annotated[int, Path(ge=0, description="From 0.")]
_ABSENT = documented(404, 409, 410)
_PNG: dict[int | str, dict[str, Any]] = {200: {"description": "PNG.", "content": {answers.PNG: {}}}, **_ABSENT}


@router.get("/images/{k}", summary="One image of a job", response_class=Response, responses=_PNG)
async def get_image(k: Index, job: OwnJob, context: InContext) -> Response:
    """There as soon as it is done, while others are still made. 409 before; 410 once the result has expired."""
    image = (await to_thread.run_sync(Made.by, context.store, job)).images.get(k)
    if image is None:
        _absent(job, "image", k, job.spec.n)
    data = await answers.stored(context, job, image.key)
    return answers.one_png(data, job, {"X-Seed": str(image.seed)})


@router.get("/controls/{k}", summary="One control map of a job", response_class=Response, responses=_PNG)
async def get_control_map(k: Index, job: OwnJob, context: InContext) -> Response:
    """The k-th of the job's `control_maps`, as the network saw it: there from the event `annotated` on."""
    maps = (await to_thread.run_sync(Made.by, context.store, job)).maps
    if k >= len(maps):
        _absent(job, "control map", k, sum(len(control.images) for control in job.spec.controls))
    data = await answers.stored(context, job, maps[k].key)
    return answers.one_png(data, job, {"X-Map-ID": map_id(maps[k].key)})


@router.get(
    "/archive",
    summary="All that a job made",
    response_class=Response,
    responses={200: {"description": "A zip with manifest.json.", "content": {answers.ZIP: {}}}, **_ABSENT},
)
async def get_archive(job: OwnJob, context: InContext) -> Response:
    """`image_<i>.png`, `control/<type>.png`, and in manifest.json all that is needed to make them again."""
    if job.result is None:
        _absent(job, "archive", 0, 1)
    return await answers.render(await answers.Finished.read(context, job), answers.ZIP)


def _absent(job: Job, what: str, k: int, count: int) -> NoReturn:
    """Say why something is not there: it never is, it has expired, it is not made yet, or it was not made."""
    if k >= count:
        raise NotFound(f"The job has no {what} {k}: it makes {count}, counted from 0.")
    which = what if count == 1 else f"{what} {k}"
    if job.expired_at is not None:
        raise Gone(f"The job's {which} has expired.")
    if not job.terminal:
        raise NotFinished(f"The job is {job.state}: its {which} is not made yet.", retry_after_s=POLL_S)
    raise NotFound(f"The job is {job.state}: its {which} was not made.")
