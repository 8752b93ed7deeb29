"""`POST /v1/images`."""

from __future__ import annotations

from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from serve.api import answers
from serve.api.admission import settle
from serve.api.context import Context, InContext, Tenant
from serve.api.problems import invalid
from serve.api.schemas import ImagesAnswer, ImagesRequest
from serve.api.uploads import read_request
from serve.api.waiting import submit, succeeded
from serve.jobs.store import Job

router = APIRouter(tags=["images"])

_MULTIPART: dict[str, Any] = {
    "type": "object",
    "required": ["request"],
    "properties": {"request": {"type": "string", "description": "The JSON of `ImagesRequest`."}},
    "additionalProperties": {"type": "string", "format": "binary", "description": "A picture named in the JSON."},
}


@router.post(
    "/v1/images",
    summary="Make images that follow a prompt and a picture",
    response_model=ImagesAnswer,
    responses={
        200: {
            "description": "The images. As `Accept` asks: JSON, one PNG, or a zip of all with manifest.json.",
            "content": {answers.PNG: {}, answers.ZIP: {}},
        }
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/ImagesRequest"}},
                "multipart/form-data": {"schema": _MULTIPART},
            },
        }
    },
)
async def create_images(request: Request, context: InContext, tenant: Tenant) -> Response:
    """Answers when the images are made. Hanging up earlier cancels the job.

    Pictures are given as base64 in the JSON, or by name beside it:
    `curl -F 'request={"prompt": "a brass gear", "controls": [{"type": "canny", "image": "it"}]}' -F it=@photo.jpg`
    """
    media = answers.choose(request.headers.get("accept"))
    job = await succeeded(context, await _admit(request, context, tenant, media), request.receive)
    return await answers.render(await answers.Finished.read(context, job), media)


async def _admit(request: Request, context: Context, tenant: str, media: str) -> Job:
    """Read, settle and submit. A function of its own, so that the wait does not hold the pictures in memory."""
    settings = context.settings
    served = await context.model()
    max_files = max(1, settings.max_controls * settings.max_images)
    data, uploads = await read_request(request, max_files, settings.max_body)
    try:
        wanted = ImagesRequest.model_validate(data)
    except ValidationError as error:
        raise invalid(error) from None
    draft = await to_thread.run_sync(settle, wanted, uploads, served.manifest, settings, context.random_seed)
    answers.check(media, draft.spec.n)
    return await submit(context, tenant, draft, served)
